package linux

import (
	"context"
	"net/netip"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/lookup"
	"wgkeys/deploy/apply/linux/needs"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/path"
	"wgkeys/deploy/apply/linux/services"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// Ask has the tunnel's device begin to tell what it has, for the plan that comes
// next: nothing may be changed in between.
func (k *Kernel) Ask(name string) error {
	link, err := k.links.Find(name)
	if err != nil || link == nil {
		return translate(err)
	}
	if err = k.wg.Ask(name, nlmsg.KindOf(link)); wg.Ended(err) {
		return nil // the plan asks again
	}
	return translate(err)
}

// lookTwice looks, and again where the device in user space ended in the middle of
// that, as one that is killed: its socket is gone a moment before its interface.
func lookTwice(k *Kernel, name string, look func() error) error {
	err := look()
	if !wg.Ended(err) {
		return err
	}
	const moment = time.Second
	for end := time.Now().Add(moment); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if link, err := k.links.Find(name); err != nil || link == nil {
			break
		}
	}
	return look()
}

// Hold has plans go back to these preshared keys, by key file, also where a file holds
// another one by then, or is gone.
func (k *Kernel) Hold(fingerprints map[string]string) { k.wg.Hold(fingerprints) }

// Peers returns the peers of a tunnel as they are now, by key: none where it is not
// up. The keys that the kernel tells with them are forgotten.
func (k *Kernel) Peers(name string) (map[keyring.PublicKey]*apply.Peer, error) {
	s, err := k.Device(name)
	if err != nil {
		return nil, err
	}
	k.wg.ForgetKeys()
	peers := make(map[keyring.PublicKey]*apply.Peer, len(s.Peers))
	for i := range s.Peers {
		peers[s.Peers[i].PublicKey] = &s.Peers[i]
	}
	return peers, nil
}

// Device reads the device of a tunnel and its peers, and nothing else: none where it is
// not up.
func (k *Kernel) Device(name string) (s *apply.State, err error) {
	err = lookTwice(k, name, func() error {
		s, err = readDevice(k, name)
		return err
	})
	return s, err
}

func readDevice(k *Kernel, name string) (*apply.State, error) {
	s := &apply.State{}
	link, err := k.links.Find(name)
	if err != nil || link == nil {
		return s, translate(err)
	}
	s.Link, s.LinkIndex = &apply.Link{Kind: nlmsg.KindOf(link)}, link.Attrs().Index
	if err := k.wg.Ask(name, s.Link.Kind); err != nil {
		return nil, translate(err)
	}
	return s, translate(k.wg.Observe(name, s))
}

// LookUp looks up names of endpoints for a tunnel that is up, as a plan does, and is more
// patient.
func (k *Kernel) LookUp(ctx context.Context, view *tunnel.View, entries journal.Entries,
	names []string) (map[string]apply.Endpoint, error) {
	s, err := k.Device(view.Tunnel)
	if err != nil {
		return nil, err
	}
	k.wg.ForgetKeys()
	services.ObserveResolver(view.Tunnel, s, view, entries)
	return lookup.Patiently(ctx, s, view, entries, names), nil
}

// LeadsInto reports whether the tunnel's encrypted packets to an address would go into
// the tunnel itself.
func (k *Kernel) LeadsInto(device *apply.State, addr netip.Addr) bool {
	return path.LeadsInto(k.nl, device, addr)
}

// Nudge sends each of these peers whose endpoint is known an empty packet.
func (k *Kernel) Nudge(name string, peers []keyring.PublicKey) error {
	return k.wg.NudgePeers(name, peers)
}

// Ways tells how the kernel would route the view's wide routes now.
func (k *Kernel) Ways(view *tunnel.View) []apply.Way { return path.Ways(k.nl, view) }

// FreshNeeds are the signs that somebody needs the parameters that the plan is the first
// to set, before it does: to be remembered once it was taken.
func (k *Kernel) FreshNeeds(plan *apply.Plan, entries journal.Entries) needs.Signs {
	return needs.Fresh(k.nl, plan, entries)
}

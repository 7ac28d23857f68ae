package linux

import (
	"context"
	"net/netip"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/interfaces"
	"wgkeys/deploy/apply/linux/lookup"
	"wgkeys/deploy/apply/linux/needs"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/path"
	"wgkeys/deploy/apply/linux/services"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// Ask starts reading a tunnel's device, so that the answer is there when the next plan
// observes it. Nothing may be changed between the two.
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

// lookTwice runs look, and runs it again if the user-space device ended while it was read.
// When such a process is killed, its socket goes a moment before its interface.
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

// Hold makes plans use the preshared keys with these fingerprints, by key file, even where
// the file holds another key by then or is gone.
func (k *Kernel) Hold(fingerprints map[string]string) { k.wg.Hold(fingerprints) }

// Peers reads the device of a tunnel and its peers, which are none if it is not up. The
// secret keys that the kernel sends along are wiped.
func (k *Kernel) Peers(name string) (*apply.State, error) {
	s, err := k.Device(name)
	if err != nil {
		return nil, err
	}
	k.wg.ForgetKeys()
	return s, nil
}

// Proxied returns the addresses that interfaces answer for, each as often as there are
// interfaces that do.
func (k *Kernel) Proxied() ([]netip.Addr, error) { return interfaces.Proxied() }

// Dead returns those addresses to which the device sends nothing: there is no route, or it
// leads into the tunnel itself.
func (k *Kernel) Dead(device *apply.State, addrs []netip.AddrPort) (map[netip.Addr]bool, error) {
	return path.Dead(device, addrs)
}

// Device reads only the device of a tunnel and its peers. State.Link is nil if the tunnel
// is not up.
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

// LookUp resolves endpoint names for a tunnel that is up, as a plan does but with a longer
// timeout.
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

// LeadsInto reports whether the tunnel's own encrypted packets to addr would be routed into
// the tunnel.
func (k *Kernel) LeadsInto(device *apply.State, addr netip.AddrPort) bool {
	return path.LeadsInto(device, addr)
}

// Nudge makes the device send an empty packet to each of the peers whose endpoint is known.
func (k *Kernel) Nudge(name string, peers []keyring.PublicKey) error {
	return k.wg.NudgePeers(name, peers)
}

// Ways returns how the kernel routes addresses in the view's routes at present.
func (k *Kernel) Ways(view *tunnel.View) []apply.Way { return path.Ways(k.nl, view) }

// FreshNeeds returns what shows that others need the parameters that the plan is the first
// to set. Call it before the plan runs, and store the result once it has run.
func (k *Kernel) FreshNeeds(plan *apply.Plan, entries journal.Entries) needs.Signs {
	return needs.Fresh(k.nl, plan, entries)
}

package linux

import (
	"context"
	"errors"
	"net/netip"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/lookup"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/path"
	"wgkeys/deploy/apply/linux/services"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// Peers returns the peers of a tunnel as they are now, by key: none where it is not
// up. The keys that the kernel tells with them are forgotten.
func (k *Kernel) Peers(name string) (map[keyring.PublicKey]*apply.Peer, error) {
	s, err := k.deviceState(name)
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

func (k *Kernel) deviceState(name string) (*apply.State, error) {
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

// LookUp looks up names of endpoints for a tunnel that is up, as a plan does, and is more patient.
func (k *Kernel) LookUp(ctx context.Context, view *tunnel.View, names []string) (map[string]apply.Endpoint, error) {
	j, err := journal.Open(RunDir, view.Tunnel)
	if err != nil {
		return nil, err
	}
	s, err := k.deviceState(view.Tunnel)
	if err != nil {
		return nil, err
	}
	k.wg.ForgetKeys()
	services.ObserveResolver(view.Tunnel, s, view, j.Entries)
	return lookup.Patiently(ctx, s, view, j.Entries, names), nil
}

// A Move takes a peer to another address of its name.
type Move struct {
	Host string         // the peer's
	Name string         // its endpoint's, name:port
	Was  *apply.Peer    // as it was seen
	To   netip.AddrPort // OUTSIDE
}

// MoveEndpoints moves those peers that are as they were seen, waiting until nobody
// else changes a tunnel, and sends each an empty packet. It goes through the journal
// as every change does. Busy says whether somebody else is at the peers then.
func MoveEndpoints(ctx context.Context, view *tunnel.View, moves []Move, busy func() bool) error {
	s, err := Begin(ctx, func(int) {})
	if err != nil {
		return err
	}
	defer s.Close()
	j, err := journal.Open(RunDir, view.Tunnel)
	if err != nil || len(j.Entries) == 0 || busy() {
		return err // a down came first
	}
	if p, err := journal.ReadPending(RunDir, view.Tunnel); err != nil || p != nil {
		return errors.Join(err, errors.New("an apply waits to be confirmed"))
	}
	device, err := s.deviceState(view.Tunnel)
	if err != nil {
		return err
	}
	live, err := s.Peers(view.Tunnel)
	if err != nil {
		return err
	}
	plan := &apply.Plan{Tunnel: view.Tunnel, Host: view.Host}
	var moved []keyring.PublicKey
	for _, m := range moves {
		now := live[m.Was.PublicKey]
		if now == nil || now.Endpoint != m.Was.Endpoint || now.Received != m.Was.Received {
			continue
		}
		if path.LeadsInto(s.nl, device, m.To.Addr()) || apply.NamesAnother(j, now, m.Name) {
			continue
		}
		if change := (apply.PeerChange{New: now}); now.Endpoint.IsValid() && j.Entries[change.Resource()].Set == m.Name {
			now.Configured = m.Name
		}
		moved = append(moved, now.PublicKey)
		plan.Steps = append(plan.Steps, apply.Step{Change: apply.MoveOf(view.Tunnel, m.Host, now, m.Name, m.To), Why: "no handshake comes"})
	}
	if err := apply.Run(ctx, s.Kernel, j, plan, func(apply.Step) {}); err != nil {
		return err
	}
	return s.wg.NudgePeers(view.Tunnel, moved)
}

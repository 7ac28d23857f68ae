package session

import (
	"context"
	"errors"
	"net/netip"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// A Move is the move of a peer to another address of its name.
type Move struct {
	Host string         // the peer's key
	Name string         // its endpoint, name:port
	Was  *apply.Peer    // the peer's state when that was decided
	To   netip.AddrPort // OUTSIDE
}

// MoveEndpoints moves those peers whose state has not changed, after waiting until no other
// process changes a tunnel, and sends each an empty packet. It goes through the journal as
// every change does. Busy reports whether another process changes the peers then.
func MoveEndpoints(ctx context.Context, view *tunnel.View, moves []Move, busy func() bool) error {
	s, err := Begin(ctx, func(int) {})
	if err != nil {
		return err
	}
	defer s.Close()
	j, err := settled(view.Tunnel, busy)
	if err != nil {
		return err
	}
	device, err := s.Device(view.Tunnel)
	if err != nil {
		return err
	}
	plan, moved, routed := s.planMoves(view, device, j, moves)
	if err := apply.Run(ctx, s.Kernel, j, plan, func(apply.Step) {}); err != nil {
		return err
	}
	if err := s.Nudge(view.Tunnel, moved); err != nil || routed == nil {
		return err
	}
	return s.moveRouted(ctx, view, routed)
}

// settled returns the journal of a tunnel that is up and that nobody is about to change: only
// then does a process change it without having been asked to.
func settled(name string, busy func() bool) (*journal.Journal, error) {
	j, err := journal.Open(linux.RunDir, name)
	switch {
	case err != nil:
		return nil, err
	case len(j.Entries) == 0:
		return nil, errors.New("a down came first")
	case busy():
		return nil, errors.New("a rotation is under way")
	}
	if p, err := journal.ReadPending(linux.RunDir, name); err != nil || p != nil {
		return nil, errors.Join(err, errors.New("an apply waits to be confirmed"))
	}
	return j, nil
}

// moveRouted moves peers to addresses that are in the tunnel's own routes, with the policy
// routing that the encrypted packets then need. Where an apply has something else to do
// besides, that is for whoever runs it.
func (s *Session) moveRouted(ctx context.Context, view *tunnel.View, moves []Move) error {
	state, others, err := s.observe(ctx, view.Tunnel, view)
	if err != nil {
		return err
	}
	for _, m := range moves {
		delete(state.Endpoints, m.Name)
	}
	if plan, err := apply.Make(view, state, s.mine, others); err != nil || len(plan.Steps) > 0 {
		return err
	}
	if state.Endpoints == nil {
		state.Endpoints = map[string]apply.Endpoint{}
	}
	for _, m := range moves {
		state.Endpoints[m.Name] = apply.Endpoint{Addr: m.To}
	}
	for range 2 { // what policy routing needs to know of the host is read once it is there
		plan, err := apply.Make(view, state, s.mine, others)
		if err != nil {
			return err
		}
		if err := apply.Run(ctx, s.Kernel, s.mine, plan, func(apply.Step) {}); err != nil {
			return err
		}
		if state, others, err = s.observe(ctx, view.Tunnel, view); err != nil {
			return err
		}
	}
	return nil
}

// planMoves is the plan for the moves of peers whose state has not changed, with their
// keys. Routed are the moves to where the tunnel itself leads.
func (s *Session) planMoves(view *tunnel.View, device *apply.State, j *journal.Journal,
	moves []Move) (plan *apply.Plan, moved []keyring.PublicKey, routed []Move) {
	// With their preshared keys at hand: a peer that never answered is made again.
	live := make(map[keyring.PublicKey]*apply.Peer, len(device.Peers))
	for i := range device.Peers {
		live[device.Peers[i].PublicKey] = &device.Peers[i]
	}
	plan = &apply.Plan{Tunnel: view.Tunnel, Host: view.Host}
	for _, m := range moves {
		now := live[m.Was.PublicKey]
		if now == nil || now.Endpoint != m.Was.Endpoint || now.Received != m.Was.Received {
			continue
		}
		if apply.NamesAnother(j, now, m.Name) {
			continue
		}
		if s.LeadsInto(device, m.To) {
			routed = append(routed, m)
			continue
		}
		if change := (apply.PeerChange{New: now}); now.Endpoint.IsValid() && j.Entries[change.Resource()].Set == m.Name {
			now.Configured = m.Name
		}
		moved = append(moved, now.PublicKey)
		plan.Steps = append(plan.Steps, apply.Step{Change: apply.MoveOf(view.Tunnel, m.Host, now, m.Name, m.To),
			Why: "no handshake comes"})
	}
	return plan, moved, routed
}

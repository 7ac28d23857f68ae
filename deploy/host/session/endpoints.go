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
	j, err := journal.Open(linux.RunDir, view.Tunnel)
	if err != nil || len(j.Entries) == 0 || busy() {
		return err // a down came first
	}
	if p, err := journal.ReadPending(linux.RunDir, view.Tunnel); err != nil || p != nil {
		return errors.Join(err, errors.New("an apply waits to be confirmed"))
	}
	device, err := s.Device(view.Tunnel)
	if err != nil {
		return err
	}
	plan, moved := s.planMoves(view, device, j, moves)
	if err := apply.Run(ctx, s.Kernel, j, plan, func(apply.Step) {}); err != nil {
		return err
	}
	return s.Nudge(view.Tunnel, moved)
}

// planMoves is the plan for the moves of peers whose state has not changed, with their
// keys.
func (s *Session) planMoves(view *tunnel.View, device *apply.State, j *journal.Journal,
	moves []Move) (*apply.Plan, []keyring.PublicKey) {
	// With their preshared keys at hand: a peer that never answered is made again.
	live := make(map[keyring.PublicKey]*apply.Peer, len(device.Peers))
	for i := range device.Peers {
		live[device.Peers[i].PublicKey] = &device.Peers[i]
	}
	plan := &apply.Plan{Tunnel: view.Tunnel, Host: view.Host}
	var moved []keyring.PublicKey
	for _, m := range moves {
		now := live[m.Was.PublicKey]
		if now == nil || now.Endpoint != m.Was.Endpoint || now.Received != m.Was.Received {
			continue
		}
		if s.LeadsInto(device, m.To) || apply.NamesAnother(j, now, m.Name) {
			continue
		}
		if change := (apply.PeerChange{New: now}); now.Endpoint.IsValid() && j.Entries[change.Resource()].Set == m.Name {
			now.Configured = m.Name
		}
		moved = append(moved, now.PublicKey)
		plan.Steps = append(plan.Steps, apply.Step{Change: apply.MoveOf(view.Tunnel, m.Host, now, m.Name, m.To),
			Why: "no handshake comes"})
	}
	return plan, moved
}

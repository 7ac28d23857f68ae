package session

import (
	"context"
	"slices"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/needs"
	"wgkeys/deploy/tunnel"
)

// RestoreProxies has the uplinks answer for INSIDE addresses again, after waiting until no other
// process changes a tunnel: the kernel removes all proxy neighbours of an interface that is set
// down (pneigh_ifdown), and an interface that comes later has none. Whatever else an apply would
// do is left to the next one.
func RestoreProxies(ctx context.Context, view *tunnel.View, busy func() bool) error {
	s, err := Begin(ctx, func(int) {})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := settled(view.Tunnel, busy); err != nil {
		return err
	}
	quick := *view
	quick.Peers = slices.Clone(view.Peers)
	for i := range quick.Peers {
		quick.Peers[i].Endpoint = "" // which may be a name, and to look it up takes seconds
	}
	state, others, err := s.observe(ctx, view.Tunnel, &quick)
	if err != nil {
		return err
	}
	plan, err := apply.Make(&quick, state, s.mine, others)
	if err != nil {
		return err
	}
	plan = plan.Proxying()
	fresh := s.FreshNeeds(plan, s.mine.Entries)
	if err := apply.Run(ctx, s.Kernel, s.mine, plan, func(apply.Step) {}); err != nil {
		return err
	}
	needs.Remember(linux.RunDir, view.Tunnel, fresh)
	return nil
}

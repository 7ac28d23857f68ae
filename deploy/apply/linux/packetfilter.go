package linux

import (
	"context"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/conntrack"
	"wgkeys/deploy/apply/linux/nft"
	"wgkeys/deploy/apply/linux/rule"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/tunnel"
)

// observeFilter looks at the tunnel's nftables table, where the view or the
// journal speaks of one.
func observeFilter(name string, view *tunnel.View, s *apply.State, entries journal.Entries) (err error) {
	entry, made := entries[journal.Filter.Of(name)]
	old := apply.ParseFilter(name, entry.Set)
	policy := view != nil && rule.MayNeedPolicyRouting(view)
	moves := view != nil && s.Device.ListenPort != 0 && view.ListenPort != 0 && view.ListenPort != s.Device.ListenPort
	s.Redirects = moves && nft.CanRedirect(name)
	switch {
	case old != nil && old.Label:
		s.Labels = true // else it could not have been made
	case policy:
		s.Labels = nft.CanLabel(name)
	}
	if made || moves || policy || asksForFilter(view) {
		s.FilterRules, s.FilterDiffers, err = nft.Look(name, old)
	}
	return err
}

func asksForFilter(view *tunnel.View) bool {
	return view != nil && (view.Masquerade != nil || view.MasqueradeTunnel || view.Isolate)
}

// setFilter replaces the tunnel's table. An old port is given up when nobody comes to it
// any more.
func setFilter(ctx context.Context, wg *wg.Client, c apply.FilterChange) error {
	if old := c.Old.PortRedirect(); old != (apply.Redirect{}) && old != c.New.PortRedirect() {
		if err := follow(ctx, wg, c.Link); err != nil {
			return err
		}
	}
	if c.New != nil && c.New.Mark.Value != 0 && (c.Old == nil || c.Old.Mark.Value == 0) {
		conntrack.Remember(c.New)
	}
	return nft.Set(c.Link, c.New)
}

// follow waits until nothing has come to the old port for a while, and has all
// peers hear from the new one meanwhile.
func follow(ctx context.Context, wg *wg.Client, link string) error {
	const round, rounds, still = 100 * time.Millisecond, 50, 3
	last, quiet := uint64(0), 0
	for range rounds {
		if err := wg.NudgeSessions(link); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(round):
		}
		n, err := nft.Redirected(link)
		if err != nil {
			return err
		}
		if quiet++; n != last {
			last, quiet = n, 0
		}
		if quiet == still {
			return nil
		}
	}
	return nil // they follow with the first packet that the host sends them
}

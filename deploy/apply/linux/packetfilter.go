package linux

import (
	"context"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/conntrack"
	"wgkeys/deploy/apply/linux/nft"
	"wgkeys/deploy/tunnel"
)

// observeFilter looks at the tunnel's nftables table, where the view or the
// journal speaks of one.
func observeFilter(name string, view *tunnel.View, s *apply.State, entries journal.Entries) (err error) {
	_, made := entries[journal.Filter.Of(name)]
	moves := view != nil && s.Device.ListenPort != 0 && view.ListenPort != 0 && view.ListenPort != s.Device.ListenPort
	s.Redirects = moves && nft.CanRedirect(name)
	if old := apply.ParseFilter(name, entries[journal.Filter.Of(name)].Set); old != nil && old.Label {
		s.Labels = true // else it could not have been made
	} else if view != nil && mayNeedPolicyRouting(view) {
		s.Labels = nft.CanLabel(name)
	}
	if made || moves || view != nil && (view.Masquerade != nil || mayNeedPolicyRouting(view)) {
		s.FilterRules, s.FilterDiffers, err = nft.Look(name, apply.ParseFilter(name, entries[journal.Filter.Of(name)].Set))
	}
	return err
}

// setFilter replaces the tunnel's table. An old port is given up when nobody comes to it
// any more.
func (k *Kernel) setFilter(ctx context.Context, c apply.FilterChange) error {
	if old := c.Old.PortRedirect(); old != (apply.Redirect{}) && old != c.New.PortRedirect() {
		if err := k.follow(ctx, c.Link); err != nil {
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
func (k *Kernel) follow(ctx context.Context, link string) error {
	const round, rounds, still = 100 * time.Millisecond, 50, 3
	last, quiet := uint64(0), 0
	for range rounds {
		if err := k.wg.NudgeSessions(link); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
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

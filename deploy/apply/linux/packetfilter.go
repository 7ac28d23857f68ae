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

// observeFilter reads the tunnel's nftables table, if the view needs one or the journal has
// one.
func observeFilter(name string, view *tunnel.View, s *apply.State, entries journal.Entries) (err error) {
	entry, made := entries[journal.Filter.Of(name)]
	old := apply.ParseFilter(name, entry.Set)
	policy := view != nil && rule.MayNeedPolicyRouting(view)
	moves := view != nil && s.Device.ListenPort != 0 && view.ListenPort != 0 && view.ListenPort != s.Device.ListenPort
	s.Redirects = moves && nft.CanRedirect(name)
	s.Labels = old != nil && old.Label // a table with labels was made here, so they work
	if made || moves || policy || asksForFilter(view) {
		s.FilterRules, s.FilterDiffers, err = nft.Look(name, old)
	}
	return err
}

// HasFilter reports whether the tunnel's nftables table is there.
func (k *Kernel) HasFilter(name string) (bool, error) { return nft.Has(name) }

func asksForFilter(view *tunnel.View) bool {
	return view != nil && (view.Masquerade != nil || view.MasqueradeTunnel || view.Isolate)
}

// setFilter replaces the tunnel's nftables table. Before it drops the redirect of an old
// port, it waits until no packet arrives there any more.
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

// follow makes the device send to all peers from its new port, until the old port has
// received nothing for three rounds of 100 ms, or for 5 s.
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
	return nil // a peer that is left learns the new port from the first packet that this host sends it
}

package session

import (
	"context"
	"fmt"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
)

// Recorded reports whether the journal of a tunnel has its nftables table.
func Recorded(name string) (bool, error) {
	j, err := journal.Open(linux.RunDir, name)
	return err == nil && j.Entries.Has(journal.Filter.Of(name)), err
}

// RestoreTable makes the tunnel's nftables table as it was, after waiting until no other process
// changes a tunnel: "flush ruleset", with which Debian's /etc/nftables.conf begins, removes the
// tables of all programs. A table that is there is left alone, and so is all else that an apply
// would change.
func RestoreTable(ctx context.Context, name string, busy func() bool) error {
	s, err := Begin(ctx, func(int) {})
	if err != nil {
		return err
	}
	defer s.Close()
	j, err := settled(name, busy)
	if err != nil {
		return err
	}
	entry, made := j.Entries[journal.Filter.Of(name)]
	if there, err := s.HasFilter(name); err != nil || there || !made {
		return err
	}
	table := apply.ParseFilter(name, entry.Set)
	if table == nil {
		return fmt.Errorf("another version of wgkeys made the table of tunnel %s", name)
	}
	// Old is as it was too: should this fail, the journal says the same as before.
	plan := &apply.Plan{Tunnel: name, Steps: []apply.Step{{
		Change: apply.FilterChange{Link: name, Old: table, New: table}, Why: "all tables were flushed"}}}
	return apply.Run(ctx, s.Kernel, j, plan, func(apply.Step) {})
}

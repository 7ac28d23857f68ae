package names

import (
	"context"
	"os"
	"time"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/host/session"
)

// A retry is when to try again what failed: later each time.
type retry struct {
	pause time.Duration
	next  time.Time
}

// due reports whether to try, and if so sets when to try again.
func (r *retry) due(now time.Time) bool {
	if now.Before(r.next) {
		return false
	}
	r.pause = min(max(firstPause, 2*r.pause), longestPause)
	r.next = now.Add(r.pause)
	return true
}

// A table is the tunnel's nftables table, as far as the process keeps it.
type table struct {
	without os.FileInfo // the journal in which there was no table
	retry   retry
}

// keepTable restores the tunnel's nftables table if somebody flushed it with all others.
func (f *follower) keepTable(ctx context.Context) {
	there, err := f.k.HasFilter(f.name)
	if there {
		f.table = table{}
	}
	if err != nil || there || !f.tabled() || !f.table.retry.due(time.Now()) {
		return
	}
	session.RestoreTable(ctx, f.name, f.busy) // if it fails, the next time
}

// tabled reports whether the tunnel has a table by its journal, which is read only if it has
// changed: that of ten thousand peers is long.
func (f *follower) tabled() bool {
	now, err := os.Stat(journal.Path(linux.RunDir, f.name))
	if err != nil {
		return false
	}
	was := f.table.without
	if was != nil && os.SameFile(was, now) && was.Size() == now.Size() && was.ModTime().Equal(now.ModTime()) {
		return false
	}
	recorded, err := session.Recorded(f.name)
	if err == nil && !recorded {
		f.table.without = now
	}
	return recorded
}

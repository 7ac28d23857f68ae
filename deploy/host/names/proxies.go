package names

import (
	"context"
	"slices"
	"time"

	"wgkeys/deploy/host/session"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/deploy/tunnel"
)

// An answering is whether the uplinks still answer for INSIDE addresses.
type answering struct {
	most  int           // so many proxy neighbours there were, since the view is the same
	pause time.Duration // before they are restored again
	next  time.Time
}

// keepProxies restores proxy neighbours that are not there any more, or were never, since the
// host had no uplink yet. Without an uplink that cannot be done, so it is tried less often the
// longer there is none.
func (f *follower) keepProxies(ctx context.Context, view *tunnel.View) {
	if view.Proxies == nil {
		return
	}
	addrs, err := f.k.Proxied()
	if err != nil {
		return // the next look asks again
	}
	there := 0
	for _, a := range addrs {
		if slices.Contains(view.Proxies, a) {
			there++
		}
	}
	a, now := &f.answering, time.Now()
	switch {
	case there >= max(a.most, len(view.Proxies)):
		a.most, a.pause = there, 0
	case now.After(a.next):
		busy := func() bool { return participant.UnderWay(f.name) != nil }
		session.RestoreProxies(ctx, view, busy) // if it fails, the next time
		a.pause = min(max(firstPause, 2*a.pause), longestPause)
		a.next = now.Add(a.pause)
	}
}

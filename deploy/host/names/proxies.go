package names

import (
	"context"
	"net/netip"
	"time"

	"wgkeys/deploy/host/session"
	"wgkeys/deploy/tunnel"
)

// An answering is whether the uplinks still answer for INSIDE addresses.
type answering struct {
	most  int // so many proxy neighbours there were, since the view is the same
	want  map[netip.Addr]bool
	retry retry
}

// keepProxies restores proxy neighbours that are not there any more, or were never, since the
// host had no uplink yet. Without an uplink that cannot be done, so it is tried less often the
// longer there is none. It returns how long it took to look.
func (f *follower) keepProxies(ctx context.Context, view *tunnel.View) (cost time.Duration) {
	if view == nil || view.Proxies == nil {
		return 0
	}
	start := time.Now()
	addrs, err := f.k.Proxied()
	if err != nil {
		return time.Since(start) // the next look asks again
	}
	a := &f.answering
	there := a.count(view.Proxies, addrs)
	now := time.Now()
	switch {
	case there >= max(a.most, len(view.Proxies)):
		a.most, a.retry = there, retry{}
	case a.retry.due(now):
		session.RestoreProxies(ctx, view, f.busy) // if it fails, the next time
	}
	return now.Sub(start)
}

// count returns how many of the proxy neighbours are INSIDE addresses of the view. Ten thousand
// are compared every time, so those of the view are in a map.
func (a *answering) count(proxies, neighbours []netip.Addr) (there int) {
	if a.want == nil {
		a.want = make(map[netip.Addr]bool, len(proxies))
		for _, addr := range proxies {
			a.want[addr] = true
		}
	}
	for _, addr := range neighbours {
		if a.want[addr] {
			there++
		}
	}
	return there
}

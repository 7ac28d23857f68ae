package apply

import (
	"fmt"
	"net/netip"
	"slices"

	"wgkeys/deploy/apply/journal"
	"wgkeys/keyring/fault"
)

// setRoutes adds and replaces first and removes last: what stays is never
// without its route.
func setRoutes(p *planner) {
	live := liveRoutes{routes: p.state.Routes, taken: make([]bool, len(p.state.Routes))}
	covered := map[Route]bool{}
	for _, want := range wantedRoutes(p) {
		if want.covered {
			covered[want.key()] = true
			continue
		}
		r := want.Route
		switch old := live.take(r.key()); {
		case old == nil && inTheWay(p, r, want.peer):
		case old == nil:
			p.step(RouteChange{p.view.Tunnel, nil, &r}, "leads to peer %s, INSIDE", want.peer)
		case *old != r:
			was := *old
			p.step(RouteChange{p.view.Tunnel, &was, &r}, "another gateway, INSIDE")
		}
	}
	left := live.left()
	if len(left) == 0 {
		return
	}
	stale := sortForGateways(p.state.Routes, func(r Route) netip.Addr { return r.Gateway })
	for _, r := range slices.Backward(stale) {
		if !left[r.key()] {
			continue
		}
		c := RouteChange{p.view.Tunnel, &r, nil}
		switch {
		case p.isMine(c.Resource()) && covered[r.key()]:
			p.step(c, "a wider prefix of the tunnel leads there as well, INSIDE")
		case p.isMine(c.Resource()):
			p.step(c, "leads nowhere any more")
		default:
			p.note("route %s through %s was not made by wgkeys: left alone", r.Prefix, p.view.Tunnel)
		}
	}
}

// inTheWay reports whether a route of the tunnel's cannot be made: the kernel has one
// route of a prefix, metric and table (fib_table_insert for IPv4, fib6_add_rt2node
// for IPv6, both with NLM_F_EXCL).
//
// Where the other one is the network's own, as in a house that has the prefix of the
// office, all else of the tunnel goes on: the house will be left again. Another one
// somebody put there, and he alone can say which of them is meant.
func inTheWay(p *planner, r Route, peer string) bool {
	for _, o := range p.state.Hurdles.Routes {
		if o.Prefix != r.Prefix || o.Table != r.Table || metricOf(o.Route) != metricOf(r) {
			continue
		}
		if o.Origin == Network && r.Prefix.Bits() >= wide {
			p.find("%s, INSIDE, of peer %s is not routed into the tunnel: it is also the network of %s, with the same metric; all else of the tunnel works. "+
				"Give one of the two networks another prefix", r.Prefix, peer, o.Link)
		} else if p.err == nil {
			p.err = o.refuse(p)
		}
		return true
	}
	return false
}

func (o OtherRoute) refuse(p *planner) error {
	whose, hint := "through "+o.Link, "remove that one"
	switch {
	case o.Link == "":
		whose = "that leads nowhere (ip " + o.family() + " route show " + o.Prefix.String() + ")"
	case o.Tunnel:
		whose = "through the tunnel " + o.Link
	}
	if p.others.Has(journal.Link.Of(o.Link)) {
		hint = fmt.Sprintf("wgkeys apply -t %s first, if that is to lead there no longer (if the two exchange routes: ip %s "+
			"route del %s dev %s on the host, then apply both)", o.Link, o.family(), o.Prefix, o.Link)
	}
	return fault.New("cannot route into tunnel "+p.view.Tunnel+" the prefix", o.Prefix.String(),
		"there is already a route "+whose+" of the same metric",
		hint+", or give this tunnel's routes another metric: metric = 512 for the host in the tunnel file")
}

// liveRoutes finds the kernel's routes by what it tells them apart by. It lists them
// in the order of their prefixes, as the view does.
type liveRoutes struct {
	routes []Route
	taken  []bool // by a route of the view
	next   int
	byKey  map[Route]int // made where the order is another
}

// take returns the route of this key, or nil.
func (l *liveRoutes) take(key Route) *Route {
	i := l.next
	if i >= len(l.routes) || l.routes[i].key() != key {
		var ok bool
		if i, ok = l.find(key); !ok {
			return nil
		}
	}
	l.next, l.taken[i] = i+1, true
	return &l.routes[i]
}

func (l *liveRoutes) find(key Route) (int, bool) {
	if l.byKey == nil {
		l.byKey = make(map[Route]int, len(l.routes))
		for i, r := range l.routes {
			l.byKey[r.key()] = i
		}
	}
	i, ok := l.byKey[key]
	return i, ok
}

// left are the keys that nobody took.
func (l *liveRoutes) left() map[Route]bool {
	if !slices.Contains(l.taken, false) {
		return nil
	}
	left := map[Route]bool{}
	for i, r := range l.routes {
		if !l.taken[i] {
			left[r.key()] = true
		}
	}
	for i, r := range l.routes {
		if l.taken[i] {
			delete(left, r.key())
		}
	}
	return left
}

package apply

import (
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel"
)

// A wantedRoute is a route of the view, in the form of the kernel.
type wantedRoute struct {
	Route
	peer    string
	covered bool // it needs no route of its own
}

// wantedRoutes returns them in the order in which the kernel takes them.
//
// A route is covered if the kernel, which looks for the longest prefix (fib_lookup,
// fib6_lookup), would without it use a wider one of the tunnel's own with the same link. A
// hub whose spokes are all in its own prefix needs no route for any of them; wg-quick(8)
// adds none there either.
func wantedRoutes(p *planner) []wantedRoute {
	var wider, elsewhere routeSet
	for _, a := range p.view.Addresses {
		n := p.view.NetworkOf(a)
		if connects(p, Address{a, p.view.Remotes[a.Addr()]}, n) {
			wider.add(Route{Prefix: n})
		}
	}
	wanted := make([]wantedRoute, 0, len(p.view.Routes))
	for _, want := range sortForGateways(p.view.Routes, func(r tunnel.Route) netip.Addr { return r.Gateway }) {
		r := Route{want.Prefix, want.Gateway, normalMetric(want.Prefix, want.Metric), normalTable(p.view.Table)}
		if p.policyRouting.routes[r.Prefix] {
			r.Table = p.policyRouting.table
		}
		if !r.Prefix.IsSingleIP() {
			wider.add(r)
		}
		wanted = append(wanted, wantedRoute{Route: r, peer: want.Peer})
	}
	for _, e := range p.state.Elsewhere {
		elsewhere.add(Route{Prefix: e.Prefix, Table: e.Table})
	}
	for i := range wanted {
		r := wanted[i].Route
		// Behind each route of policy routing there is an unreachable one, see [Unreachable].
		policyRouted := p.policyRouting.table != 0 && r.Table == p.policyRouting.table
		wanted[i].covered = !policyRouted && covered(r, wider, elsewhere)
	}
	return wanted
}

// connects reports whether there is, or will be, the route to a network that the kernel
// makes with an address (fib_add_ifaddr, addrconf_prefix_route). Somebody may have removed
// it.
func connects(p *planner, address Address, network netip.Prefix) bool {
	there := p.state.Link != nil && p.state.Link.Up && slices.Contains(p.state.Addresses, address)
	return !there || slices.Contains(p.state.Connected, network)
}

// covered reports whether one of the wider routes leads where r does: in the same table, by
// the same gateway, and with the same metric, since one with its own metric is meant to
// compete with a route that comes and goes. A route of another interface between the two
// would be the longest prefix without r.
func covered(r Route, wider, elsewhere routeSet) bool {
	for _, bits := range wider.bits {
		w := r
		w.Prefix = shortened(r.Prefix, bits)
		if bits >= r.Prefix.Bits() || !wider.routes[w] {
			continue
		}
		between := func(e int) bool {
			return bits <= e && e <= r.Prefix.Bits() && elsewhere.routes[Route{Prefix: shortened(r.Prefix, e), Table: r.Table}]
		}
		if !slices.ContainsFunc(elsewhere.bits, between) {
			return true
		}
	}
	return false
}

// shortened returns the prefix with this length around p, which must not be shorter; else
// the zero value.
func shortened(p netip.Prefix, bits int) netip.Prefix {
	if bits > p.Bits() {
		return netip.Prefix{}
	}
	short, _ := p.Addr().Prefix(bits)
	return short
}

// A routeSet finds the routes around a prefix with one look-up for each prefix length in
// use, however many routes there are.
type routeSet struct {
	routes map[Route]bool
	bits   []int
}

func (s *routeSet) add(r Route) {
	if !slices.Contains(s.bits, r.Prefix.Bits()) {
		s.bits = append(s.bits, r.Prefix.Bits())
	}
	if s.routes == nil {
		s.routes = map[Route]bool{}
	}
	s.routes[r] = true
}

package apply

import (
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// addAround adds the routes that contain an endpoint. Comparing all routes with all
// endpoints of ten thousand peers would take longer than everything else, and so would a
// map of the routes: it is only made if an endpoint is so close that it may be in one.
func addAround(p *planner, found map[netip.Prefix]bool) {
	a := &around{view: p.view, spans: spansOf(p.view.Routes), found: found}
	for i := range p.view.Peers {
		want := &p.view.Peers[i]
		if want.Endpoint == "" {
			continue
		}
		if !a.spans[familySpelled(want.Endpoint)].none() {
			a.add(literal(want))
		}
		for _, addr := range literals(want) {
			a.add(addr)
		}
		if len(p.state.Endpoints) > 0 {
			for _, addr := range p.state.Endpoints[want.Endpoint].All() {
				a.add(addr.Addr())
			}
		}
	}
	for i := range p.state.Peers {
		live := &p.state.Peers[i]
		if len(a.routesOf(live.Endpoint.Addr())) > 0 && a.hasEndpoint(live.PublicKey) && !Strayed(p.view, live.Endpoint) {
			a.add(live.Endpoint.Addr())
		}
	}
}

// An around finds the routes of a view that contain an address.
type around struct {
	view   *tunnel.View
	spans  *spans
	found  map[netip.Prefix]bool
	routes map[netip.Prefix]bool      // all of them; nil: not needed yet
	named  map[keyring.PublicKey]bool // the peers that have an endpoint; nil: not needed yet
}

func (a *around) add(addr netip.Addr) {
	for _, prefix := range a.routesOf(addr) {
		a.found[prefix] = true
	}
}

// routesOf are those that were not found yet. An address with a zone belongs to a link and
// is in no route.
func (a *around) routesOf(addr netip.Addr) (routes []netip.Prefix) {
	if !addr.IsValid() || addr.Zone() != "" {
		return nil
	}
	for _, prefix := range a.spans[familyOf(addr)].around(addr) {
		if a.routes == nil {
			a.routes = make(map[netip.Prefix]bool, len(a.view.Routes))
			for _, r := range a.view.Routes {
				a.routes[r.Prefix] = true
			}
		}
		if a.routes[prefix] && !a.found[prefix] {
			routes = append(routes, prefix)
		}
	}
	return routes
}

// hasEndpoint reports whether the view says where a peer is. A peer that comes to us may be
// elsewhere tomorrow.
func (a *around) hasEndpoint(key keyring.PublicKey) bool {
	if a.named == nil {
		a.named = make(map[keyring.PublicKey]bool, len(a.view.Peers))
		for i := range a.view.Peers {
			a.named[a.view.Peers[i].PublicKey] = a.view.Peers[i].Endpoint != ""
		}
	}
	return a.named[key]
}

// spans are the ranges of IPv4 and of IPv6 routes, to see quickly that an address is in
// none of them.
type spans [2]span

// A span has the lengths of the prefixes, and the first and the last of their networks.
type span struct {
	lengths     []int
	first, last netip.Addr
}

func spansOf(routes []tunnel.Route) *spans {
	var s spans
	var seen [2][129]bool
	for i := range routes {
		prefix := routes[i].Prefix
		addr, f := prefix.Addr(), familyOf(prefix.Addr())
		of := &s[f]
		if !seen[f][prefix.Bits()] {
			seen[f][prefix.Bits()] = true
			of.lengths = append(of.lengths, prefix.Bits())
		}
		if !of.first.IsValid() || addr.Less(of.first) {
			of.first = addr
		}
		if of.last.Less(addr) { // one that is not valid is less than all
			of.last = addr
		}
	}
	for i := range s {
		slices.Sort(s[i].lengths)
	}
	return &s
}

func (s *span) none() bool { return len(s.lengths) == 0 }

// around returns the prefixes of these lengths that contain addr, or nil if none of them
// can be a route, because the network of the shortest is after the last one.
func (s *span) around(addr netip.Addr) []netip.Prefix {
	if s.none() || addr.Less(s.first) {
		return nil
	}
	var prefixes []netip.Prefix
	for _, bits := range s.lengths {
		prefix, err := addr.Prefix(bits)
		if err != nil || s.last.Less(prefix.Addr()) {
			continue
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes
}

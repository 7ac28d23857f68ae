package apply

import (
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
)

// addAround adds the routes in which an endpoint lies. To compare all routes with all
// endpoints of ten thousand peers would take longer than all else, and so would a map
// of the routes: it is made where an endpoint is so close that it may lie in one.
func (p *planner) addAround(found map[netip.Prefix]bool) {
	spans := spansOf(p.view.Routes)
	var routes map[netip.Prefix]bool
	for addr := range p.endpointsNear(spans) {
		for _, prefix := range spans[familyOf(addr)].around(addr) {
			if routes == nil {
				routes = make(map[netip.Prefix]bool, len(p.view.Routes))
				for _, r := range p.view.Routes {
					routes[r.Prefix] = true
				}
			}
			if routes[prefix] {
				found[prefix] = true
			}
		}
	}
}

// endpointsNear yields the OUTSIDE addresses of the peers, as far as they are known and of
// a family that has routes: as the view has them, where they are now and wherever
// their names lead.
func (p *planner) endpointsNear(spans *spans) func(yield func(netip.Addr) bool) {
	return func(yield func(netip.Addr) bool) {
		live := livePeers{peers: p.state.Peers, taken: make([]bool, len(p.state.Peers))}
		tell := func(addr netip.Addr) bool {
			// A zone is a link's, and no route's.
			return !addr.IsValid() || addr.Zone() != "" || spans[familyOf(addr)].none() || yield(addr)
		}
		for i := range p.view.Peers {
			want := &p.view.Peers[i]
			have := live.take(want.PublicKey)
			if want.Endpoint == "" {
				continue
			}
			if have != nil && !tell(have.Endpoint.Addr()) {
				return
			}
			if !spans[familySpelled(want.Endpoint)].none() && !tell(literal(want)) {
				return
			}
			if len(p.state.Endpoints) == 0 {
				continue
			}
			for _, a := range p.state.Endpoints[want.Endpoint].All() {
				if !tell(a.Addr()) {
					return
				}
			}
		}
	}
}

// spans are the routes of IPv4 and of IPv6, as far as it takes to see that an address
// lies in none of them.
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

// familyOf is 0 for IPv4 and 1 for IPv6, also as an address and a port are spelled:
// only an IPv6 address has a bracket.
func familyOf(addr netip.Addr) int {
	if addr.Is6() {
		return 1
	}
	return 0
}

func familySpelled(endpoint string) int {
	if strings.HasPrefix(endpoint, "[") {
		return 1
	}
	return 0
}

func (s *span) none() bool { return len(s.lengths) == 0 }

// around returns the prefixes of these lengths in which addr lies, or nil where none
// of them can be a route: the network of the shortest comes after the last one.
func (s *span) around(addr netip.Addr) []netip.Prefix {
	if addr.Less(s.first) {
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

package path

import (
	"net/netip"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// mostAsked is how many peers are looked up when it matters only whether there is a route
// to them: a host with ten thousand peers does not ask for all of them each time.
const mostAsked = 64

// someOutside returns the addresses of the first peers that have an endpoint, each once:
// the present ones, those in the tunnel file, and those that their names resolve to.
func someOutside(s *apply.State, view *tunnel.View) []netip.AddrPort {
	addrs := newAddresses(2 * mostAsked)
	wanted := make(map[keyring.PublicKey]bool, mostAsked)
	for i := 0; i < len(view.Peers) && len(wanted) < mostAsked; i++ {
		p := &view.Peers[i]
		if p.Endpoint == "" {
			continue
		}
		wanted[p.PublicKey] = true
		for _, e := range p.Endpoints() {
			if a, err := netip.ParseAddrPort(e); err == nil {
				addrs.add(a)
			}
		}
		for _, a := range s.Endpoints[p.Endpoint].All() {
			addrs.add(a)
		}
	}
	// The kernel lists peers in the order in which it got them, which is mostly that of the
	// view, so this ends early.
	for i := 0; i < len(s.Peers) && len(wanted) > 0; i++ {
		if p := &s.Peers[i]; wanted[p.PublicKey] {
			delete(wanted, p.PublicKey)
			addrs.add(p.Endpoint)
		}
	}
	return addrs.list
}

// addresses is a list of valid addresses, each once.
type addresses struct {
	list []netip.AddrPort
	seen map[netip.Addr]bool
}

func newAddresses(expected int) addresses {
	return addresses{make([]netip.AddrPort, 0, expected), make(map[netip.Addr]bool, expected)}
}

func (a *addresses) add(one netip.AddrPort) {
	if one.IsValid() && !a.seen[one.Addr()] {
		a.seen[one.Addr()] = true
		a.list = append(a.list, one)
	}
}

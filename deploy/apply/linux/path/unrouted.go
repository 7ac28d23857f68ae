package path

import (
	"net/netip"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// mostAsked are the peers whose addresses the kernel is asked about, where nothing but
// that there is a way to them matters. One that has ten thousand is not asked on each look.
const mostAsked = 64

// someOutside are the addresses of the first peers that we have to reach, each once: where
// they are now, where the tunnel file says, and wherever their names lead.
func someOutside(s *apply.State, view *tunnel.View) []netip.Addr {
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
				addrs.add(a.Addr())
			}
		}
		for _, a := range s.Endpoints[p.Endpoint].All() {
			addrs.add(a.Addr())
		}
	}
	// The kernel names them in the order in which it got them: mostly that of the view.
	for i := 0; i < len(s.Peers) && len(wanted) > 0; i++ {
		if p := &s.Peers[i]; wanted[p.PublicKey] {
			delete(wanted, p.PublicKey)
			addrs.add(p.Endpoint.Addr())
		}
	}
	return addrs.list
}

// addresses are valid ones, each once.
type addresses struct {
	list []netip.Addr
	seen map[netip.Addr]bool
}

func newAddresses(expected int) addresses {
	return addresses{make([]netip.Addr, 0, expected), make(map[netip.Addr]bool, expected)}
}

func (a *addresses) add(one netip.Addr) {
	if one.IsValid() && !a.seen[one] {
		a.seen[one] = true
		a.list = append(a.list, one)
	}
}

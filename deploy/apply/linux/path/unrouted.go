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

// someOutside are the addresses of the first peers that we have to reach: where they are
// now, where the tunnel file says, and wherever their names lead.
func someOutside(s *apply.State, view *tunnel.View) (addrs []netip.Addr) {
	asked := map[keyring.PublicKey]bool{}
	for i := range view.Peers {
		p := &view.Peers[i]
		if p.Endpoint == "" {
			continue
		}
		asked[p.PublicKey] = true
		for _, e := range p.Endpoints() {
			if a, err := netip.ParseAddrPort(e); err == nil {
				addrs = append(addrs, a.Addr())
			}
		}
		for _, a := range s.Endpoints[p.Endpoint].All() {
			addrs = append(addrs, a.Addr())
		}
		if len(asked) == mostAsked {
			break
		}
	}
	if len(asked) == 0 {
		return nil
	}
	for i := range s.Peers {
		if a := s.Peers[i].Endpoint.Addr(); a.IsValid() && asked[s.Peers[i].PublicKey] {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

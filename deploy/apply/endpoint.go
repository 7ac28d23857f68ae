package apply

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"wgkeys/keyring/fault"
)

// refuseInside refuses an endpoint, by address or by name, that lies in the network
// of an address of ours: the kernel makes a route into the tunnel for that, in the
// main table, which its own encrypted packets would take.
func (p *planner) refuseInside() error {
	var networks []netip.Prefix
	for _, a := range p.view.Addresses {
		networks = append(networks, a.Masked())
	}
	if networks == nil || normalTable(p.view.Table) != 0 {
		return nil
	}
	for i := range p.view.Peers {
		peer := &p.view.Peers[i]
		addr := cmp.Or(literal(peer), p.state.Endpoints[peer.Endpoint].Addr.Addr())
		if !slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) }) {
			continue
		}
		return fault.New("cannot send encrypted packets to the endpoint of peer", peer.Name,
			fmt.Sprintf("%s is %s, which is to be OUTSIDE, and is in the network of an address of this host, INSIDE", peer.Endpoint, addr),
			"write the address that the peer has without the tunnel: endpoint, under [hosts."+peer.Name+"]")
	}
	return nil
}

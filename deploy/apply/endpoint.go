package apply

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// isInside reports whether an address lies in the network of an address of ours: the
// kernel makes a route into the tunnel for that, in the main table, which its own
// encrypted packets would take.
func isInside(view *tunnel.View, addr netip.Addr) bool {
	return normalTable(view.Table) == 0 && slices.ContainsFunc(view.Addresses, func(a netip.Prefix) bool {
		return a.Masked().Contains(addr)
	})
}

// refuseInside refuses an endpoint that is an address INSIDE.
func refuseInside(p *planner) error {
	var networks [2]bool // of IPv4, of IPv6: of the other family no endpoint is INSIDE
	for _, prefix := range p.view.Addresses {
		networks[familyOf(prefix.Addr())] = true
	}
	for i := range p.view.Peers {
		peer := &p.view.Peers[i]
		if peer.Endpoint == "" || !networks[familySpelled(peer.Endpoint)] {
			continue
		}
		addr := literal(peer)
		if !addr.IsValid() || !isInside(p.view, addr) {
			continue
		}
		return fault.New("cannot send encrypted packets to the endpoint of peer", peer.Name,
			fmt.Sprintf("%s is to be OUTSIDE, and is in the network of an address of this host, INSIDE", peer.Endpoint),
			"write the address that the peer has without the tunnel: endpoint, under [hosts."+peer.Name+"]")
	}
	return nil
}

// dropInside returns the state in which no name leads to an address INSIDE. That is the trouble of its peer
// alone: whoever owns a name could else keep the whole tunnel down.
func dropInside(view *tunnel.View, state *State) *State {
	kept := maps.Clone(state.Endpoints)
	for name, e := range state.Endpoints {
		all := e.All()
		outside := slices.DeleteFunc(slices.Clone(all), func(a netip.AddrPort) bool { return isInside(view, a.Addr()) })
		switch {
		case len(outside) == len(all):
		case len(outside) == 0:
			kept[name] = Endpoint{Err: fmt.Errorf("it leads to %s, INSIDE", all[0].Addr())}
		default:
			kept[name] = Endpoint{Addr: outside[0], More: outside[1:]}
		}
	}
	dropped := *state
	dropped.Endpoints = kept
	return &dropped
}

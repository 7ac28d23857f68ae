package apply

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// isInside reports whether an address is in the network of an address of ours, or is the
// far end of one: the kernel makes a route into the tunnel for these, in the main table,
// which the tunnel's own encrypted packets would take.
func isInside(view *tunnel.View, addr netip.Addr) bool {
	return normalTable(view.Table) == 0 && slices.ContainsFunc(view.Addresses, func(a netip.Prefix) bool {
		return view.NetworkOf(a).Contains(addr) || view.Remotes[a.Addr()].Addr() == addr
	})
}

// Strayed reports whether a peer's endpoint is INSIDE: its last packet came from there. A
// peer whose own way out is gone may send so, and one that is malicious. Nothing that is
// sent there gets to it.
func Strayed(view *tunnel.View, endpoint netip.AddrPort) bool {
	return endpoint.IsValid() && isInside(view, endpoint.Addr())
}

// IsInside reports whether an address is INSIDE.
func IsInside(view *tunnel.View, addr netip.Addr) bool { return isInside(view, addr) }

// dropInside returns the state without names that lead to an address INSIDE. Only the peer
// of such a name is affected: otherwise the owner of a name could keep the whole tunnel
// down.
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

func literal(peer *tunnel.Peer) netip.Addr {
	addr, _ := netip.ParseAddrPort(peer.Endpoint)
	return addr.Addr()
}

// literals are the addresses among the endpoints of a peer that has several.
func literals(peer *tunnel.Peer) (addrs []netip.Addr) {
	if !severalEndpoints(peer) {
		return nil
	}
	for _, e := range peer.Endpoints() {
		if a, err := netip.ParseAddrPort(e); err == nil {
			addrs = append(addrs, a.Addr())
		}
	}
	return addrs
}

func severalEndpoints(peer *tunnel.Peer) bool { return strings.IndexByte(peer.Endpoint, ',') >= 0 }

func liveEndpoints(p *planner) map[keyring.PublicKey]netip.Addr {
	live := make(map[keyring.PublicKey]netip.Addr, len(p.state.Peers))
	for _, q := range p.state.Peers {
		live[q.PublicKey] = q.Endpoint.Addr()
	}
	return live
}

// addressesOf returns where the peer may be reached, OUTSIDE: by the view, by any address
// of its name, in both families, and where it is now.
func addressesOf(p *planner, peer *tunnel.Peer, live map[keyring.PublicKey]netip.Addr) []netip.Addr {
	addrs := append(literals(peer), literal(peer), live[peer.PublicKey])
	for _, a := range p.state.Endpoints[peer.Endpoint].All() {
		addrs = append(addrs, a.Addr())
	}
	return addrs
}

// familyOf is 0 for IPv4 and 1 for IPv6, also for an address with a port, where only IPv6
// has a bracket.
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

package tunnel

import (
	"cmp"
	"net/netip"
	"slices"
)

// A graph tells who are peers, without the square of the number of hosts: a hub
// with ten thousand spokes has ten thousand pairs, not fifty million.
type graph struct {
	open     []*host            // the hosts without a list of peers, by name
	reached  []*host            // those of them with an endpoint
	listedBy map[string][]*host // the hosts with a list, by each name on it
	named    map[string][]*host // open hosts that a pair's endpoint joins
	listed   map[[2]string]pos  // by host and a name on its list
	aimedAt  map[string]bool    // the hosts for which some pair has an endpoint
}

func (t *Tunnel) connect() graph {
	g := graph{
		listedBy: map[string][]*host{},
		named:    map[string][]*host{},
		listed:   map[[2]string]pos{},
		aimedAt:  map[string]bool{},
	}
	for _, name := range t.names {
		h := t.hosts[name]
		for peer, p := range h.pairs {
			g.aimedAt[peer] = g.aimedAt[peer] || p.endpoint.given()
		}
		if h.peers.given() {
			for _, peer := range h.peers.vals {
				g.listedBy[peer.val] = append(g.listedBy[peer.val], h)
				g.listed[[2]string{name, peer.val}] = peer.pos
			}
			continue
		}
		g.open = append(g.open, h)
		if h.endpoint.given() {
			g.reached = append(g.reached, h)
		}
		for peer, p := range h.pairs {
			if o := t.hosts[peer]; p.endpoint.given() && o != nil && o != h && !o.peers.given() {
				g.named[name] = append(g.named[name], o)
				g.named[peer] = append(g.named[peer], h)
			}
		}
	}
	return g
}

// peers returns the peers of h, sorted by name.
func (t *Tunnel) peers(h *host) []*host {
	var peers []*host
	switch {
	case h.peers.given():
		for _, p := range h.peers.vals {
			if o := t.hosts[p.val]; o != nil {
				peers = append(peers, o)
			}
		}
	case h.endpoint.given():
		peers = slices.Concat(t.open, t.listedBy[h.name])
	default:
		peers = slices.Concat(t.reached, t.named[h.name], t.listedBy[h.name])
	}
	slices.SortFunc(peers, func(a, b *host) int { return cmp.Compare(a.name, b.name) })
	peers = slices.Compact(peers)
	return slices.DeleteFunc(peers, func(o *host) bool { return o == h })
}

// lonely tells whether h has no peer, without listing them.
func (t *Tunnel) lonely(h *host) bool {
	switch {
	case h.peers.given():
		return len(h.peers.vals) == 0
	case h.endpoint.given():
		return len(t.open) < 2 && len(t.listedBy[h.name]) == 0
	}
	return len(t.reached)+len(t.named[h.name])+len(t.listedBy[h.name]) == 0
}

// arePeers tells whether a and b, two hosts, are peers.
func (t *Tunnel) arePeers(a, b *host) bool {
	if a.peers.given() {
		return t.listed[[2]string{a.name, b.name}].given()
	}
	if b.peers.given() {
		return t.listed[[2]string{b.name, a.name}].given()
	}
	return canMeet(a, b)
}

// canMeet tells whether one of a and b knows where to send its first packet.
func canMeet(a, b *host) bool {
	return a.endpoint.given() || b.endpoint.given() ||
		a.pair(b.name).endpoint.given() || b.pair(a.name).endpoint.given()
}

// The rules for a setting of a pair follow: the pair's own, then the host's,
// then the tunnel's.

// listenPortOf returns the port h listens on, 0 for the kernel's choice.
func (t *Tunnel) listenPortOf(h *host) int {
	port := first(h.listenPort, t.listenPort)
	if !port.given() && t.hasEndpoint(h) {
		return defaultPort
	}
	return port.val
}

// hasEndpoint tells whether h has an endpoint, its own or in some pair.
func (t *Tunnel) hasEndpoint(h *host) bool {
	return h.endpoint.given() || t.aimedAt[h.name]
}

// endpointOf returns where a sends its packets for b.
func endpointOf(a, b *host) value[endpoint] {
	return first(a.pair(b.name).endpoint, b.endpoint)
}

// allowed returns what a allows its peer b: of IPv6 nothing, where one of them does
// without.
func allowed(a, b *host) []value[netip.Prefix] {
	list := b.claims
	if p := a.pair(b.name); p.allowedIPs.given() {
		list = p.allowedIPs.vals
	}
	if a.withoutIPv6() || b.withoutIPv6() {
		list = slices.DeleteFunc(slices.Clone(list), func(c value[netip.Prefix]) bool { return c.val.Addr().Is6() })
	}
	return list
}

// withoutIPv6 tells whether h has IPv4 alone, INSIDE.
func (h *host) withoutIPv6() bool { return h.ipv6.given() && !h.ipv6.val }

// hasPSK tells whether a and b share a preshared key. What the pair says wins,
// whichever end says it, then what its hosts say; lint makes the ends agree.
func (t *Tunnel) hasPSK(a, b *host) bool {
	return first(a.pair(b.name).psk, b.pair(a.name).psk, a.psk, b.psk, t.psk).val
}

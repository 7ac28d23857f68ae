package tunnel

import (
	"cmp"
	"net/netip"
	"slices"
)

// A graph stores who are peers, without the square of the number of hosts: a hub with ten
// thousand spokes has ten thousand pairs, not fifty million.
type graph struct {
	all, managed meeting            // hosts without a list of peers
	listedBy     map[string][]*host // the hosts with a list, by each name on it
	named        map[string][]*host // hosts without a list that a pair's endpoint joins
	listed       map[[2]string]pos  // by host and a name on its list
	aimedAt      map[string]bool    // the hosts for which some pair has an endpoint
}

// A meeting is a set of hosts without a list of peers, by name.
type meeting struct {
	open    []*host // all of them
	reached []*host // those that the others can reach
}

func (m *meeting) add(h *host) {
	m.open = append(m.open, h)
	if h.reached() {
		m.reached = append(m.reached, h)
	}
}

// around are the hosts among which h finds its peers: two unmanaged hosts are never peers,
// since nobody could configure them.
func (g *graph) around(h *host) *meeting {
	if h.unmanaged() {
		return &g.managed
	}
	return &g.all
}

func (t *Tunnel) connect() graph {
	g := graph{
		listedBy: map[string][]*host{},
		named:    map[string][]*host{},
		listed:   map[[2]string]pos{},
		aimedAt:  map[string]bool{},
	}
	g.all.open, g.managed.open = make([]*host, 0, len(t.sorted)), make([]*host, 0, len(t.sorted))
	for _, h := range t.sorted {
		for peer, p := range h.pairs {
			g.aimedAt[peer] = g.aimedAt[peer] || p.endpoint.given()
		}
		if h.peers.given() {
			for _, peer := range h.peers.vals {
				g.listedBy[peer.val] = append(g.listedBy[peer.val], h)
				g.listed[[2]string{h.name, peer.val}] = peer.pos
			}
			continue
		}
		g.all.add(h)
		if !h.unmanaged() {
			g.managed.add(h)
		}
		for peer, p := range h.pairs {
			if o := t.hosts[peer]; p.endpoint.given() && o != nil && o != h && !o.peers.given() && !bothUnmanaged(h, o) {
				g.named[h.name] = append(g.named[h.name], o)
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
	case h.reached():
		peers = slices.Concat(t.around(h).open, t.listedBy[h.name])
	default:
		peers = slices.Concat(t.around(h).reached, t.named[h.name], t.listedBy[h.name])
	}
	slices.SortFunc(peers, func(a, b *host) int { return cmp.Compare(a.name, b.name) })
	peers = slices.Compact(peers)
	return slices.DeleteFunc(peers, func(o *host) bool { return o == h })
}

// ManagedPeers returns the names of the peers of a host that somebody logs in to, sorted.
func ManagedPeers(t *Tunnel, host string) (names []string) {
	h, ok := t.hosts[host]
	if !ok {
		return nil
	}
	for _, p := range t.peers(h) {
		if !p.unmanaged() {
			names = append(names, p.name)
		}
	}
	return names
}

// lonely reports whether h has no peer, without listing them.
func (t *Tunnel) lonely(h *host) bool {
	switch {
	case h.peers.given():
		return len(h.peers.vals) == 0
	case !h.reached():
		return len(t.around(h).reached)+len(t.named[h.name])+len(t.listedBy[h.name]) == 0
	case h.unmanaged(): // if it is not among those around it
		return len(t.managed.open)+len(t.listedBy[h.name]) == 0
	}
	return len(t.all.open) < 2 && len(t.listedBy[h.name]) == 0
}

// arePeers reports whether the hosts a and b are peers.
func (t *Tunnel) arePeers(a, b *host) bool {
	if bothUnmanaged(a, b) {
		return false
	}
	if a.peers.given() {
		return t.listed[[2]string{a.name, b.name}].given()
	}
	if b.peers.given() {
		return t.listed[[2]string{b.name, a.name}].given()
	}
	return canMeet(a, b)
}

func bothUnmanaged(a, b *host) bool { return a.unmanaged() && b.unmanaged() }

// canMeet reports whether one of a and b may know where to send its first packet.
func canMeet(a, b *host) bool { return a.reachable.val || b.reachable.val || haveEndpoint(a, b) }

// haveEndpoint reports whether the tunnel file has an endpoint of a for b or of b for a.
func haveEndpoint(a, b *host) bool {
	return a.endpoint.given() || b.endpoint.given() ||
		a.pair(b.name).endpoint.given() || b.pair(a.name).endpoint.given()
}

// The rules for a setting of a pair follow: the pair's own, then the host's, then the
// tunnel's.

// listenPortOf returns the port h listens on, 0 for the kernel's choice.
func (t *Tunnel) listenPortOf(h *host) int {
	port := first(h.listenPort, t.listenPort)
	if !port.given() && t.hasEndpoint(h) {
		return defaultPort
	}
	return port.val
}

// hasEndpoint reports whether some peer reaches h at an endpoint: h's own, that of a pair,
// or one that is not in the tunnel file.
func (t *Tunnel) hasEndpoint(h *host) bool {
	return h.reached() || t.aimedAt[h.name]
}

// endpointOf returns where a sends its packets for b.
func endpointOf(a, b *host) value[endpoints] {
	return first(a.pair(b.name).endpoint, b.endpoint)
}

// allowed returns what a allows its peer b: no IPv6, if one of them has none.
func allowed(a, b *host) []value[netip.Prefix] {
	if p := a.pair(b.name); p.allowedIPs.given() {
		return carried(a, b, p.allowedIPs.vals)
	}
	return carried(a, b, b.claims)
}

// routed returns what the kernel of a routes to its peer b: by default what it allows it.
func routed(a, b *host) []value[netip.Prefix] {
	p := a.pair(b.name)
	switch {
	case a.table.val == tableOff:
		return nil
	case p.routes.given():
		return carried(a, b, p.routes.vals)
	}
	return allowed(a, b)
}

// carried returns those of list that go between a and b.
func carried(a, b *host, list []value[netip.Prefix]) []value[netip.Prefix] {
	if a.withoutIPv6() || b.withoutIPv6() {
		list = slices.DeleteFunc(slices.Clone(list), func(c value[netip.Prefix]) bool { return c.val.Addr().Is6() })
	}
	return list
}

// withoutIPv6 reports whether h has only IPv4, INSIDE.
func (h *host) withoutIPv6() bool { return h.ipv6.given() && !h.ipv6.val }

// hasPSK reports whether a and b share a preshared key. The setting of the pair counts, at
// whichever end, then that of its hosts; lint makes the ends agree.
func (t *Tunnel) hasPSK(a, b *host) bool {
	return first(a.pair(b.name).psk, b.pair(a.name).psk, a.psk, b.psk, t.psk).val
}

// somePSK reports whether hasPSK may be true for some pair.
func somePSK(t *Tunnel) bool {
	if t.psk.val {
		return true
	}
	for _, h := range t.sorted {
		if h.psk.val {
			return true
		}
		for _, p := range h.pairs {
			if p.psk.val {
				return true
			}
		}
	}
	return false
}

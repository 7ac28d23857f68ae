package tunnel

import (
	"fmt"
	"net/netip"
	"slices"

	"wgkeys/keyring/fault"
)

// A Topology is who can start to whom in a tunnel, and what lives where: all that
// a drawing of it shows. It needs no key.
type Topology struct {
	Tunnel string
	Hosts  []Node // sorted by name
	Links  []Link // sorted
}

// A Node is a host of a Topology.
type Node struct {
	Name      string
	Endpoint  string         // OUTSIDE, address:port or name:port; "": none of its own
	Addresses []netip.Prefix // INSIDE, sorted
	Routes    []netip.Prefix // INSIDE, sorted: what its peers reach through it
}

// A Link is two hosts that are peers, by their places in Hosts: A is less than B.
type Link struct {
	A, B int
	// OUTSIDE: where B sends its first packet for A, and A for B; "": nowhere,
	// it waits for the other one's
	ToA, ToB string
}

// maxLinks is how many pairs a drawing may have: a full mesh of 700 hosts.
const maxLinks = 1 << 18

// Topology derives the drawing of the tunnel.
func (t *Tunnel) Topology() (*Topology, error) {
	topology := &Topology{Tunnel: t.Name}
	place := make(map[*host]int, len(t.names))
	for i, name := range t.names {
		h := t.hosts[name]
		place[h] = i
		n := Node{Name: name, Addresses: h.ownAddresses(), Routes: h.ownRoutes()}
		if h.endpoint.given() {
			n.Endpoint = h.endpoint.val.withPort(t.listenPortOf(h))
		}
		topology.Hosts = append(topology.Hosts, n)
	}
	for i, name := range t.names {
		h := t.hosts[name]
		for _, peer := range t.peers(h) {
			if j := place[peer]; i < j {
				topology.Links = append(topology.Links, Link{i, j, t.firstPacket(peer, h), t.firstPacket(h, peer)})
			}
		}
		if len(topology.Links) > maxLinks {
			return nil, fault.New("too much to draw in tunnel", t.Name,
				fmt.Sprintf("it has %d hosts and more than %d pairs of peers", len(t.names), maxLinks), "wgkeys show HOST")
		}
	}
	return topology, nil
}

// firstPacket returns where a sends its first packet for b, "" if it cannot.
func (t *Tunnel) firstPacket(a, b *host) string {
	if e := endpointOf(a, b); e.given() {
		return e.val.withPort(t.listenPortOf(b))
	}
	return ""
}

// ownRoutes are what the host's peers reach through it, in order.
func (h *host) ownRoutes() (own []netip.Prefix) {
	for _, r := range h.routes.vals {
		if r.val.Addr().Is4() || !h.withoutIPv6() {
			own = append(own, r.val)
		}
	}
	slices.SortFunc(own, netip.Prefix.Compare)
	return own
}

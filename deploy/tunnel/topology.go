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
	Reachable bool           // peers know by themselves where it is
	Addresses []netip.Prefix // INSIDE, sorted
	Routes    []netip.Prefix // INSIDE, sorted: what its peers reach through it
	About
}

// A Link is two hosts that are peers, by their places in Hosts: A is less than B.
type Link struct {
	A, B     int
	ToA, ToB Start // of B, and of A
}

// A Start is how a host can send the first packet to a peer.
type Start struct {
	Can bool
	// OUTSIDE, address:port or name:port; "": the tunnel file does not know it
	At string
}

// maxLinks is how many pairs a drawing may have: a full mesh of 700 hosts.
const maxLinks = 1 << 18

// NewTopology derives what a drawing of the tunnel shows.
func NewTopology(t *Tunnel) (*Topology, error) {
	topology := &Topology{Tunnel: t.Name}
	place := make(map[*host]int, len(t.sorted))
	for i, h := range t.sorted {
		place[h] = i
		n := Node{Name: h.name, Addresses: h.ownAddresses(), Routes: h.ownRoutes(), Reachable: h.reachable.val,
			About: h.forPeople()}
		if h.endpoint.given() {
			n.Endpoint = h.endpoint.val.withPort(t.listenPortOf(h))
		}
		topology.Hosts = append(topology.Hosts, n)
	}
	for i, h := range t.sorted {
		for _, peer := range t.peers(h) {
			if j := place[peer]; i < j {
				l := Link{A: i, B: j, ToA: start(t, peer, h), ToB: start(t, h, peer)}
				topology.Links = append(topology.Links, l)
			}
		}
		if len(topology.Links) > maxLinks {
			return nil, fault.New("too much to draw in tunnel", t.Name,
				fmt.Sprintf("it has %d hosts and more than %d pairs of peers", len(t.sorted), maxLinks), "wgkeys show HOST")
		}
	}
	return topology, nil
}

// start returns how a can begin with b. An unmanaged host may know by itself where its peer
// is, and has to if neither of the two has an endpoint.
func start(t *Tunnel, a, b *host) Start {
	if e := endpointOf(a, b); e.given() {
		return Start{true, e.val.withPort(t.listenPortOf(b))}
	}
	return Start{Can: a.unmanaged() && (b.reachable.val || !haveEndpoint(a, b))}
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

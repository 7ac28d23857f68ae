package tunnel

import (
	"maps"
	"net/netip"
	"slices"

	"wgkeys/keyring/words"
)

// A Tunnel is a whole tunnel as its files describe it, for all of its hosts.
type Tunnel struct {
	Name     string
	Commands words.Commands // for hints; the zero value leaves the tunnel's name out

	// HostOf returns the host whose public key is, or begins with, what somebody has typed in
	// the place of a name: "" if it is not known. It is for hints, and may be nil.
	HostOf func(key string) string

	listenPort, mtu, keepalive value[int]
	psk                        value[bool]

	hosts  map[string]*host
	sorted []*host // hosts, by name

	graph
	v4, v6 bool // the families inside
}

// A host is a machine of the tunnel, as written. Of ten thousand most say little: what few of
// them say is apart, so that a host takes a third of the memory.
type host struct {
	pos
	name string

	managed, reachable    value[bool]
	endpoint              value[endpoints]
	addresses             list[address]
	routes                list[netip.Prefix]
	listenPort, keepalive value[int]
	pairs                 map[string]*pair
	*rest

	at     int                   // in Tunnel.sorted
	claims []value[netip.Prefix] // addresses, each alone, and routes
}

// The rest of the settings of a host: &unsaid if it has none of them.
type rest struct {
	description               value[string]
	tags                      list[string]
	ssh                       value[string]
	forward, ndpProxy, psk    value[bool]
	masquerade                value[masquerade]
	isolate, killSwitch, boot value[bool]
	ipv6                      value[bool]
	dns                       list[string]
	mtu                       value[int]
	fwmark, table, metric     value[int]
	gateway                   value[netip.Addr]
	sysctls                   map[string]sysctl // by file under /proc/sys
	privateKeyFile            value[string]
	peers                     list[string]
}

// unsaid is the rest of a host that says no more. Nobody writes to it.
var unsaid rest

// A list is a list of values, which may be given and empty.
type list[T any] struct {
	pos
	vals []value[T]
}

// A pair is what one host says about its entry of one peer.
type pair struct {
	pos
	allowedIPs list[netip.Prefix]
	routes     list[netip.Prefix]
	endpoint   value[endpoints]
	keepalive  value[int]
	psk        value[bool]
	pskFile    value[string]
}

// paired returns the names of the peers that h says something about, sorted.
func (h *host) paired() []string {
	if len(h.pairs) == 0 { // as most
		return nil
	}
	return slices.Sorted(maps.Keys(h.pairs))
}

// pair returns what h says about its peer: the zero pair if nothing.
func (h *host) pair(peer string) *pair {
	if p, ok := h.pairs[peer]; ok {
		return p
	}
	return &nothing
}

// nothing is what most hosts say about a peer. Nobody writes to it.
var nothing pair

// unmanaged reports whether nobody logs in to h: its keys and its configuration, if any are
// ours, are brought there by hand.
func (h *host) unmanaged() bool { return h.managed.given() && !h.managed.val }

// reached reports whether peers know where to reach h: the tunnel file says it, or they
// know it by themselves.
func (h *host) reached() bool { return h.endpoint.given() || h.reachable.val }

// A sysctl is a setting of the kernel's network, spelled as the user spells it.
type sysctl struct {
	key string
	value[string]
}

package route

import (
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/tunnel"
)

// A besides collects the routes of other interfaces while those of the link are read. A nil
// one collects nothing.
type besides struct {
	nl       *netlink.Handle
	table    int
	prefixes map[netip.Prefix]bool
	lengths  [2][129]bool // which lengths the prefixes have, by family
	links    map[int]netlink.Link

	found    []apply.OtherRoute // of the family that is being read
	gateways []gateway          // of its default routes
	networks []netip.Prefix     // reached without a gateway
	digest   uint64
}

// A gateway is that of a default route.
type gateway struct {
	addr netip.Addr
	oif  int
}

// begin is called before a family is read, and before each retry.
func (b *besides) begin() {
	if b != nil {
		b.found, b.gateways, b.networks, b.digest = nil, nil, nil, 0
	}
}

func (b *besides) end(h *apply.Hurdles) {
	if b != nil {
		h.Routes, h.Digest = append(h.Routes, b.found...), h.Digest+b.digest
		for _, g := range b.gateways {
			if prefix := b.around(g.addr); prefix.IsValid() {
				link, _ := b.name(g.oif)
				h.Gateways = append(h.Gateways, apply.OtherGateway{Addr: g.addr, Link: link, Prefix: prefix})
			}
		}
	}
}

// around returns the view's longest prefix that contains an address, if no other network of
// the host that does is as long. Wide prefixes (shorter than /8) are looked at last of all.
func (b *besides) around(addr netip.Addr) netip.Prefix {
	for bits := addr.BitLen(); bits >= 8; bits-- {
		prefix, _ := addr.Prefix(bits)
		if slices.Contains(b.networks, prefix) {
			break
		}
		if b.lengths[familyIndex(addr)][bits] && b.prefixes[prefix] {
			return prefix
		}
	}
	return netip.Prefix{}
}

func (t *Table) newBesides(view *tunnel.View) *besides {
	b := &besides{nl: t.nl, table: view.Table, prefixes: make(map[netip.Prefix]bool, len(view.Routes)),
		links: map[int]netlink.Link{}}
	if b.table == unix.RT_TABLE_MAIN {
		b.table = 0
	}
	add := func(p netip.Prefix) {
		b.prefixes[p] = true
		b.lengths[familyIndex(p.Addr())][p.Bits()] = true
	}
	for i := range view.Routes {
		add(view.Routes[i].Prefix)
	}
	for _, n := range view.Networks() {
		if !n.IsSingleIP() {
			add(n)
		}
	}
	return b
}

func familyIndex(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// add considers a route of another interface, or of none.
func (b *besides) add(msg *nl.RtMsg, r apply.Route, oif int, attrs []byte) {
	if b == nil || r.Table != b.table {
		return
	}
	switch msg.Type {
	case unix.RTN_UNICAST, unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT, unix.RTN_THROW:
	default:
		return
	}
	if msg.Type == unix.RTN_UNICAST && r.Gateway.IsValid() && r.Prefix.Bits() == 0 {
		b.gateways = append(b.gateways, gateway{r.Gateway, oif})
	} else if msg.Type == unix.RTN_UNICAST && !r.Gateway.IsValid() {
		b.networks = append(b.networks, r.Prefix)
	}
	preferred := isPreferred(attrs)
	b.digest += digestOfRoute(msg, r, oif, preferred)
	if !b.concerns(r.Prefix) {
		return
	}
	o := apply.OtherRoute{Route: r, Preferred: preferred, Throws: msg.Type == unix.RTN_THROW}
	switch msg.Protocol {
	case unix.RTPROT_KERNEL, unix.RTPROT_RA, unix.RTPROT_DHCP, unix.RTPROT_REDIRECT:
		o.Origin = apply.Network
	}
	if msg.Type == unix.RTN_UNICAST {
		o.Link, o.Tunnel = b.name(oif)
	}
	b.found = append(b.found, o)
}

// isPreferred reports whether a route has the high preference of RFC 4191, with which it wins
// over others of its prefix and metric (rt6_score_route).
func isPreferred(attrs []byte) bool {
	const high = 1 // ICMPV6_ROUTER_PREF_HIGH
	for kind, value := range nlmsg.Attributes(attrs) {
		if kind == unix.RTA_PREF && len(value) > 0 {
			return value[0] == high
		}
	}
	return false
}

// concerns reports whether prefix is one of the view's, or lies within one.
func (b *besides) concerns(prefix netip.Prefix) bool {
	for bits := range prefix.Bits() + 1 {
		if !b.lengths[familyIndex(prefix.Addr())][bits] {
			continue
		}
		if outer, err := prefix.Addr().Prefix(bits); err == nil && b.prefixes[outer] {
			return true
		}
	}
	return false
}

func (b *besides) name(oif int) (name string, isTunnel bool) {
	if oif == 0 {
		return "several interfaces", false
	}
	link := b.links[oif]
	if link == nil {
		var err error
		if link, err = b.nl.LinkByIndex(oif); err != nil {
			return "another interface", false
		}
		b.links[oif] = link
	}
	name = link.Attrs().Name
	_, err := os.Stat(device.Socket(name))
	return name, nlmsg.KindOf(link) == "wireguard" || err == nil
}

// digestOfRoute is a hash (FNV-1a) of a route. The sum of the hashes of many routes does
// not depend on their order.
func digestOfRoute(msg *nl.RtMsg, r apply.Route, oif int, preferred bool) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	addr := r.Prefix.Addr().As16()
	for _, c := range addr {
		h = (h ^ uint64(c)) * prime
	}
	for _, n := range []int{r.Prefix.Bits(), r.Metric, r.Table, oif, int(msg.Type), int(msg.Protocol)} {
		h = (h ^ uint64(n)) * prime
	}
	if preferred {
		h = (h ^ 1) * prime
	}
	return h
}

package ifupdown

import (
	"math"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// A reader reads the addresses and gateways of stanzas.
type reader struct {
	*foreign.Reader
	ng   bool // read the files as ifupdown-ng does
	left []foreign.Left
}

// addresses returns the addresses in options, which are those of a stanza.
func (r *reader) addresses(s *stanza, options []option) (list []foreign.Address) {
	if len(options) > 1 && !r.ng {
		r.Wrong(options[1].at, "iface "+s.name+" "+s.family+" static", "a second address of one stanza, which ifup refuses: "+
			"it needs a stanza of its own")
		return nil
	}
	length, given := r.netmask(s)
	for _, o := range options {
		addr, n, ok := r.address(s, o, length, given)
		if !ok {
			continue
		}
		p := netip.PrefixFrom(addr, n)
		if !p.IsValid() {
			r.Wrong(o.at, "", "address: %s is longer than the address", strconv.Itoa(n))
			continue
		}
		a := foreign.Address{Pos: o.at, Local: p, Remote: r.remote(s, addr)}
		if a.Remote.IsValid() { // the length belongs to the remote address (ipaddr_modify of iproute2)
			a.Local = netip.PrefixFrom(addr, addr.BitLen())
		}
		list = append(list, a)
	}
	return list
}

// address reads an address of a stanza and its prefix length. If given is set, the stanza
// has a netmask of that length.
func (r *reader) address(s *stanza, o option, netmask int, given bool) (addr netip.Addr, length int, ok bool) {
	text, after, sized := strings.Cut(o.value, "/")
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		r.Prefix(o.at, "address", o.value) // reports what is wrong
		return addr, 0, false
	}
	if !s.takes(addr) {
		r.Wrong(o.at, "iface "+s.name+" "+otherFamily(s.family)+" static", "address: %s is not an address of %s",
			foreign.Shown(o.value), s.family)
		return addr, 0, false
	}
	switch {
	case given && (!sized || !r.ng): // ifupdown prefers the netmask
		return addr, netmask, true
	case sized && addr.Is4() && !r.ng:
		// compute_v4_mask in ifupdown's archlinux.c reads the leading number and ignores
		// what follows, such as a comment.
		after = after[:len(after)-len(strings.TrimLeft(after, "0123456789."))]
		return addr, r.mask(o.at, "address", after, addr.Is6()), true
	case sized:
		return addr, r.mask(o.at, "address", after, addr.Is6()), true
	}
	return addr, r.unsaid(addr), true
}

// takes reports whether an address is of the stanza's family. A stanza of ifupdown-ng may
// have none, and takes both.
func (s *stanza) takes(addr netip.Addr) bool {
	switch s.family {
	case "inet":
		return addr.Is4()
	case "inet6":
		return addr.Is6()
	}
	return true
}

func otherFamily(family string) string {
	if family == "inet" {
		return "inet6"
	}
	return "inet"
}

// unsaid returns the prefix length of an address that has none. ifupdown 0.8.41 and 0.8.45
// leave it out for inet6, which ip-address(8) takes for 128, and use the address class for
// inet: 10.1.2.3 is in a /8, 224.0.0.0 and above in a /32 (compute_v4_mask in archlinux.c).
// ifupdown-ng 0.12 takes /64 and /24 (lif_address_parse).
func (r *reader) unsaid(addr netip.Addr) int {
	switch {
	case r.ng && addr.Is6():
		return 64
	case r.ng:
		return 24
	case addr.Is6():
		return 128
	}
	switch first := addr.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	case first < 224:
		return 24
	}
	return 32
}

// netmask returns the prefix length that a netmask of the stanza says, if there is one.
func (r *reader) netmask(s *stanza) (length int, given bool) {
	for _, o := range s.all("netmask") {
		six := s.family == "inet6" || s.family == "" && !strings.Contains(o.value, ".")
		length, given = r.mask(o.at, "netmask", o.value, six), true
	}
	return length, given
}

// mask reads a prefix length, as a number or, for IPv4, as a mask.
func (r *reader) mask(at foreign.Pos, name, text string, six bool) int {
	if m, err := netip.ParseAddr(text); err == nil && m.Is4() && !six {
		a := m.As4()
		n := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
		if length := bits.LeadingZeros32(^n); n == ^uint32(math.MaxUint32>>length) {
			return length
		}
		r.Wrong(at, "", "%s: %s has a hole", name, foreign.Shown(text))
		return 0
	}
	if six {
		return r.Number(at, name, text, 0, 128)
	}
	return r.Number(at, name, text, 0, 32)
}

// remote returns the other end of a point-to-point address, as a single address, which is
// how ip-address(8) reads it. The option is "pointopoint" for ifupdown and "point-to-point"
// for ifupdown-ng; ifupdown ignores the latter.
func (r *reader) remote(s *stanza, local netip.Addr) (p netip.Prefix) {
	for _, o := range s.all("pointopoint", "point-to-point") {
		addr, err := netip.ParseAddr(o.value)
		switch {
		case o.key == "point-to-point" && !r.ng:
			r.left = append(r.left, foreign.Left{Pos: o.at, What: o.key,
				Why: "ifup takes no notice of it: its own word is pointopoint"})
		case err != nil || !addr.Is4():
			r.Wrong(o.at, "", "%s: %s is no IPv4 address", o.key, foreign.Shown(o.value))
		case local.Is4():
			p = netip.PrefixFrom(addr, 32)
		}
	}
	return p
}

// gateways returns the default routes of a stanza. ifupdown-ng gives them a metric of 1
// (executor-scripts/linux/static).
func (r *reader) gateways(s *stanza) (list []foreign.Route) {
	metric := 0
	if r.ng {
		metric = 1
	}
	for _, o := range s.all("metric") {
		metric = r.Number(o.at, "metric", o.value, 0, math.MaxInt32)
	}
	for _, o := range s.all("gateway") {
		addr, err := netip.ParseAddr(o.value)
		if err != nil || addr.Zone() != "" || !s.takes(addr) {
			r.Wrong(o.at, "", "gateway: %s is not an address of the family", foreign.Shown(o.value))
			continue
		}
		everything := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		if addr.Is4() {
			everything = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		}
		if addr.IsUnspecified() { // ip route add default via 0.0.0.0 onlink
			r.Wrong(o.at, "up ip route add default dev "+s.name, "gateway: %s is not a next hop, and ifup fails with it", addr)
			continue
		}
		list = append(list, foreign.Route{Pos: o.at, Prefix: everything, Gateway: addr, Metric: metric})
	}
	return list
}

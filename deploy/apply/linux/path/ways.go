package path

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
)

// Ways asks the kernel how it routes addresses in the view's routes: in all of those that are
// wide (shorter than /8), and in some of the others, which are enough to find a rule that
// takes what is for the peers.
func Ways(nl *netlink.Handle, view *tunnel.View) (ways []apply.Way) {
	names := map[int]string{}
	every := len(view.Routes)/mostAsked + 1
	for i := range view.Routes {
		prefix := view.Routes[i].Prefix
		addrs := ends(prefix)
		if prefix.Bits() < 8 {
			addrs = probes(prefix)
		} else if i%every != 0 {
			continue
		}
		for _, addr := range addrs {
			way := apply.Way{Prefix: prefix, Addr: addr}
			routes, err := nl.RouteGet(addr.AsSlice())
			if err == nil && len(routes) > 0 {
				way.Link, way.Local = linkName(nl, names, routes[0].LinkIndex), routes[0].Type == unix.RTN_LOCAL
			}
			ways = append(ways, way)
		}
	}
	return ways
}

func linkName(nl *netlink.Handle, names map[int]string, index int) string {
	name, known := names[index]
	if !known {
		if link, err := nl.LinkByIndex(index); err == nil {
			name = link.Attrs().Name
		}
		names[index] = name
	}
	return name
}

// ends returns an address near the beginning of a prefix and one near its end: a more specific
// route of the host for one of them is no reason to say anything.
func ends(prefix netip.Prefix) []netip.Addr {
	first := prefix.Masked().Addr()
	if prefix.IsSingleIP() {
		return []netip.Addr{first}
	}
	bytes := first.AsSlice()
	for bit := prefix.Bits(); bit < first.BitLen(); bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	if first.BitLen()-prefix.Bits() > 1 {
		first, last = first.Next(), last.Prev()
	}
	return []netip.Addr{first, last}
}

// probes returns addresses of a wide prefix that are far from one another, so that one more
// specific route of the host cannot hide the rest. Nothing is sent to them.
func probes(prefix netip.Prefix) (addrs []netip.Addr) {
	candidates := []string{"11.64.0.1", "57.64.0.1", "101.64.0.1", "150.64.0.1", "214.64.0.1"}
	if prefix.Addr().Is6() {
		candidates = []string{"2400:4000::1", "2600:4000::1", "2a00:4000::1", "4000::1", "9000::1", "c000::1"}
	}
	for _, c := range candidates {
		if addr := netip.MustParseAddr(c); prefix.Contains(addr) {
			addrs = append(addrs, addr)
		}
	}
	if addrs == nil {
		addrs = append(addrs, prefix.Masked().Addr().Next())
	}
	return addrs
}

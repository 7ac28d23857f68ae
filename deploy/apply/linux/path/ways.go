package path

import (
	"net/netip"

	"github.com/vishvananda/netlink"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
)

// Ways asks the kernel how it routes addresses in the view's wide routes (shorter than /8),
// which the tunnel is to take over.
func Ways(nl *netlink.Handle, view *tunnel.View) (ways []apply.Way) {
	for i := range view.Routes {
		prefix := view.Routes[i].Prefix
		if prefix.Bits() >= 8 {
			continue
		}
		for _, addr := range probes(prefix) {
			way := apply.Way{Prefix: prefix, Addr: addr}
			routes, err := nl.RouteGet(addr.AsSlice())
			if err == nil && len(routes) > 0 {
				if link, err := nl.LinkByIndex(routes[0].LinkIndex); err == nil {
					way.Link = link.Attrs().Name
				}
			}
			ways = append(ways, way)
		}
	}
	return ways
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

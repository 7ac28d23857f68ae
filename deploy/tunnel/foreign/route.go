package foreign

import (
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel"
)

// Wide is the prefix length below which a route counts as a default route.
const Wide = 8

// NeedsTable reports whether apply puts the route r of v into a table of its own, with a
// mark and rules: it counts as a default route, or an endpoint lies in it, so that the
// encrypted packets would be routed into the tunnel.
func NeedsTable(v *tunnel.View, r tunnel.Route) bool {
	if v.Table != 0 {
		return false
	}
	if r.Prefix.Bits() < Wide && !r.Gateway.IsValid() && r.Metric == 0 {
		return true
	}
	return slices.ContainsFunc(v.Peers, func(peer tunnel.Peer) bool {
		return slices.ContainsFunc(peer.Endpoints(), func(endpoint string) bool {
			at, err := netip.ParseAddrPort(endpoint)
			return err == nil && r.Prefix.Contains(at.Addr())
		})
	})
}

// ForAllowedIPs reports whether the routes of v are those that wg-quick makes by itself: one for
// each allowed IP, except the networks of the interface's addresses. also says which others there
// may be; nil: none.
func ForAllowedIPs(v *tunnel.View, also func(netip.Prefix) bool) bool {
	want := map[netip.Prefix]bool{}
	for i := range v.Peers {
		for _, a := range v.Peers[i].AllowedIPs {
			want[a] = true
		}
	}
	for _, a := range v.Addresses {
		if v.Table == 0 {
			delete(want, a.Masked())
		}
	}
	for _, r := range v.Routes {
		if r.Gateway.IsValid() || r.Metric != 0 || !want[r.Prefix] && (also == nil || !also(r.Prefix)) {
			return false
		}
		delete(want, r.Prefix)
	}
	return len(want) == 0
}

// SettleSources leaves out the sources of routes that the kernel would not choose by itself. It
// is to be called when all addresses are known.
func (d *Device) SettleSources() {
	for _, r := range d.Routes {
		s := r.Source
		another := func(a Address) bool {
			return a.Local.Addr() != s.Addr && a.Local.Addr().Is4() == s.Addr.Is4()
		}
		if s.Left.What != "" && (!d.owns(s.Addr) || slices.ContainsFunc(d.Addresses, another)) {
			d.Left = append(d.Left, s.Left)
		}
	}
}

// BesideOthers returns why r is another route than a tunnel's default route, or "". Without
// a metric, an IPv6 default route in the main table gets 1024 from the kernel
// (IP6_RT_PRIO_USER), which becomes its metric. One of IPv4 gets 0, and catches the
// encrypted packets, whether it has a next hop or not.
func (r *Route) BesideOthers() (why string) {
	switch {
	case r.Prefix.Bits() >= Wide, r.Table != 0, r.Metric != 0, r.Prefix.Addr().Is6() && r.Gateway.IsValid():
		return ""
	case r.Prefix.Addr().Is6():
		r.Metric = 1024
		return ""
	}
	return "a route of the main table takes the encrypted packets too; the tunnel's default route has a table, a mark and " +
		"rules of its own"
}

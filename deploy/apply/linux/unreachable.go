package linux

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/tunnel"
)

// observeUnreachables reads the routes that lead nowhere of the metric of ours,
// where the view could need some or the journal speaks of one.
func (k *Kernel) observeUnreachables(s *apply.State, view *tunnel.View, entries journal.Entries) error {
	needed := false
	for resource := range entries {
		needed = needed || resource.Kind == journal.Unreachable
	}
	if !needed {
		return nil
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := nlmsg.Retry(func() ([]apply.Unreachable, error) { return readUnreachables(family) })
		if err != nil {
			return err
		}
		s.Unreachables = append(s.Unreachables, routes...)
	}
	return nil
}

func readUnreachables(family int) (routes []apply.Unreachable, err error) {
	err = dumpRoutes(family, func(msg *nl.RtMsg, attrs []byte) {
		if msg.Type != unix.RTN_UNREACHABLE {
			return
		}
		if r, _ := routeOf(msg, attrs); r.Metric == apply.UnreachableMetric && r.Table != 0 {
			routes = append(routes, apply.Unreachable{Prefix: r.Prefix, Table: r.Table})
		}
	})
	return routes, err
}

// dumpRoutes goes through all routes of a family, in any table (rtnetlink(7)).
func dumpRoutes(family int, each func(msg *nl.RtMsg, attrs []byte)) error {
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family)}})
	return req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE, func(b []byte) bool {
		msg := nl.DeserializeRtMsg(b)
		if int(msg.Family) == family && msg.Flags&unix.RTM_F_CLONED == 0 {
			each(msg, b[msg.Len():])
		}
		return true
	})
}

func (k *Kernel) setUnreachable(c apply.UnreachableChange) error {
	route := &netlink.Route{
		Dst:      nlmsg.IPNet(c.Route.Prefix),
		Table:    c.Route.Table,
		Priority: apply.UnreachableMetric,
		Type:     unix.RTN_UNREACHABLE,
		// systemd-networkd takes away the routes of others that have no interface,
		// but for the kernel's (ManageForeignRoutes= in networkd.conf(5)).
		Protocol: unix.RTPROT_KERNEL,
	}
	if c.Add {
		return nlmsg.Ignore(k.nl.RouteAdd(route), unix.EEXIST)
	}
	return nlmsg.Ignore(k.nl.RouteDel(route), unix.ESRCH)
}

// Astray tells which of the view's wide routes the kernel sends elsewhere now.
func (s *Session) Astray(view *tunnel.View) []string { return apply.Astray(view, s.ways(view)) }

// ways asks the kernel how it would route the view's wide routes, which are to
// be the tunnel's.
func (k *Kernel) ways(view *tunnel.View) (ways []apply.Way) {
	for i := range view.Routes {
		prefix := view.Routes[i].Prefix
		if prefix.Bits() >= 8 {
			continue
		}
		for _, addr := range probes(prefix) {
			way := apply.Way{Prefix: prefix, Addr: addr}
			routes, err := k.nl.RouteGet(addr.AsSlice())
			if err == nil && len(routes) > 0 {
				if link, err := k.nl.LinkByIndex(routes[0].LinkIndex); err == nil {
					way.Link = link.Attrs().Name
				}
			}
			ways = append(ways, way)
		}
	}
	return ways
}

// probes are addresses of a wide prefix far from one another, so that a route of
// the host to one of them says little. Nothing is sent there.
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

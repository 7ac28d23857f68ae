package linux

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/tunnel"
)

// observeTables reads the routes of both families in one look: those through the
// link, in any table, and of other interfaces what lies within the ranges, and what
// others looks for. Link 0 is none.
func (k *Kernel) observeTables(link int, within ranges, others *besides, s *apply.State) error {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if link == 0 && within.bits == nil && others == nil {
			continue
		}
		found, err := nlmsg.Retry(func() ([]foundRoute, error) {
			others.begin()
			return k.readRoutes(link, family, within, others)
		})
		if err != nil {
			return err
		}
		s.Routes = slices.Grow(s.Routes, len(found))
		for _, r := range found {
			switch {
			case r.link != link || link == 0:
				s.Elsewhere = append(s.Elsewhere, r.Route)
			case r.connected:
				s.Connected = append(s.Connected, r.Prefix)
			default:
				s.Routes = append(s.Routes, r.Route)
			}
		}
		others.end(&s.Hurdles)
	}
	return nil
}

// A foundRoute is a route of the kernel's.
type foundRoute struct {
	apply.Route
	link      int
	connected bool // made by the kernel itself, with an address
}

// readRoutes reads the routes of a family (rtnetlink(7)). Of the link's own it
// leaves out what routers advertised, and what the kernel made, but for the
// prefixes of addresses.
func (k *Kernel) readRoutes(link, family int, within ranges, others *besides) (routes []foundRoute, err error) {
	socket, err := nlmsg.OpenSocket(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: socket}
	req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family)}})
	err = req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE, func(b []byte) bool {
		msg := nl.DeserializeRtMsg(b)
		k.narrowRoute = k.narrowRoute || isNarrow(b)
		if int(msg.Family) != family || msg.Flags&unix.RTM_F_CLONED != 0 {
			return true
		}
		r, oif := routeOf(msg, b[msg.Len():])
		found := foundRoute{r, oif, msg.Protocol == unix.RTPROT_KERNEL}
		switch {
		case r.Table == unix.RT_TABLE_LOCAL:
		case oif != link || link == 0:
			others.add(msg, r, oif)
			if within.contain(r.Prefix) {
				routes = append(routes, found)
			}
		case msg.Type != unix.RTN_UNICAST || msg.Protocol == unix.RTPROT_RA || found.connected && r.Table != 0:
		default:
			if routes == nil {
				routes = make([]foundRoute, 0, k.expected)
			}
			routes = append(routes, found)
		}
		return true
	})
	return routes, err
}

// ranges are prefixes that are no single addresses, by their length.
type ranges struct {
	prefixes map[netip.Prefix]bool
	bits     []int
}

// rangesOf are those that a view's addresses and routes send into the tunnel.
func rangesOf(view *tunnel.View) (r ranges) {
	for _, a := range view.Addresses {
		r.add(a.Masked())
	}
	for i := range view.Routes {
		r.add(view.Routes[i].Prefix)
	}
	return r
}

func (r *ranges) add(p netip.Prefix) {
	if p.IsSingleIP() {
		return
	}
	if r.prefixes == nil {
		r.prefixes = map[netip.Prefix]bool{}
	}
	if r.prefixes[p] = true; !slices.Contains(r.bits, p.Bits()) {
		r.bits = append(r.bits, p.Bits())
	}
}

// contain reports whether p lies within one of them.
func (r *ranges) contain(p netip.Prefix) bool {
	return slices.ContainsFunc(r.bits, func(bits int) bool {
		around, err := p.Addr().Prefix(bits)
		return err == nil && bits <= p.Bits() && r.prefixes[around]
	})
}

// routeOf spells the kernel's defaults as package apply does: as zero. A route
// with several next hops has no link of its own.
func routeOf(msg *nl.RtMsg, attrs []byte) (r apply.Route, link int) {
	dst := unspecified(int(msg.Family))
	r.Table = int(msg.Table)
	for kind, value := range nlmsg.Attributes(attrs) {
		switch kind {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(value)
		case unix.RTA_OIF:
			link = int(nlmsg.Word(value))
		case unix.RTA_GATEWAY:
			r.Gateway, _ = netip.AddrFromSlice(value)
		case unix.RTA_PRIORITY:
			r.Metric = int(nlmsg.Word(value))
		case unix.RTA_TABLE:
			r.Table = int(nlmsg.Word(value))
		}
	}
	r.Prefix = netip.PrefixFrom(dst, int(msg.Dst_len))
	if r.Table == unix.RT_TABLE_MAIN {
		r.Table = 0
	}
	if msg.Family == netlink.FAMILY_V6 && r.Metric == 1024 { // IP6_RT_PRIO_USER
		r.Metric = 0
	}
	return r, link
}

func unspecified(family int) netip.Addr {
	if family == netlink.FAMILY_V4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

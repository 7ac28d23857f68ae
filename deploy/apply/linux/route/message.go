package route

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// routeOf parses a route and the index of its link. The kernel's default table and metric
// become 0, as in package apply. The index is 0 for a route with several next hops.
func routeOf(msg *nl.RtMsg, attrs []byte) (r apply.Route, link int) {
	dst := nlmsg.Unspecified(int(msg.Family))
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

// Dump calls each with every route of a family, in any table (rtnetlink(7)).
func Dump(family int, each func(msg *nl.RtMsg, attrs []byte)) error {
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

// isNarrow reports whether the route itself has a small MTU (ip route … mtu 1400).
func isNarrow(route []byte) bool {
	mtu := MTU(route[unix.SizeofRtMsg:])
	return mtu != 0 && mtu < Ethernet
}

// MTU returns the MTU of the route itself, or 0 if it has none.
func MTU(attrs []byte) int {
	for kind, value := range nlmsg.Attributes(attrs) {
		if kind != unix.RTA_METRICS {
			continue
		}
		for metric, value := range nlmsg.Attributes(value) {
			if metric == unix.RTAX_MTU {
				return int(nlmsg.Word(value))
			}
		}
	}
	return 0
}

// Ethernet is the smallest path MTU, in bytes, on which a tunnel of the default MTU fits,
// with the longest headers.
const Ethernet = apply.DefaultMTU + 80

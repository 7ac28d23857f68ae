package route

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// routeOf spells the kernel's defaults as package apply does: as zero. A route
// with several next hops has no link of its own.
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

// Dump goes through all routes of a family, in any table (rtnetlink(7)).
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

// isNarrow reports whether a route says by itself that its path is narrow
// (ip route … mtu 1400).
func isNarrow(route []byte) bool {
	mtu := MTU(route[unix.SizeofRtMsg:])
	return mtu != 0 && mtu < Ethernet
}

// MTU finds the MTU that a route has of its own; 0: none.
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

// Ethernet is how wide the path of the default MTU is, with the longest headers.
const Ethernet = apply.DefaultMTU + 80

package rule

import (
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/linux/nlmsg"
)

// changeRule adds or removes a rule. The library's own request for one writes into
// reserved bytes: it takes the header of a route, whose protocol lies where that of
// a rule has none (struct fib_rule_hdr in linux/fib_rules.h).
func changeRule(r *netlink.Rule, add bool) error {
	socket, err := nlmsg.OpenSocket(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := socket.Socket.SetExtAck(true); err != nil {
		return err
	}
	kind, flags := unix.RTM_DELRULE, unix.NLM_F_ACK
	if add {
		kind, flags = unix.RTM_NEWRULE, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL
	}
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: socket}
	addRule(req, r, add)
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// addRule spells the rule: its action is to look into a table, where it has no other.
func addRule(req *nl.NetlinkRequest, r *netlink.Rule, add bool) {
	header := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(r.Family)}}
	header.Type = r.Type
	if add && r.Type == 0 {
		header.Type = unix.FR_ACT_TO_TBL
	}
	if r.Invert {
		header.Flags |= netlink.FibRuleInvert
	}
	var attrs []*nl.RtAttr
	attr := func(said bool, kind int, value []byte) {
		if said {
			attrs = append(attrs, nl.NewRtAttr(kind, value))
		}
	}
	attr(r.Table != 0, unix.FRA_TABLE, nl.Uint32Attr(uint32(r.Table)))
	attr(r.Priority >= 0, unix.FRA_PRIORITY, nl.Uint32Attr(uint32(r.Priority)))
	if r.Src != nil {
		bits, _ := r.Src.Mask.Size()
		header.Src_len = uint8(bits)
		attr(true, unix.FRA_SRC, address(r.Family, r.Src.IP))
	}
	if r.Dst != nil {
		bits, _ := r.Dst.Mask.Size()
		header.Dst_len = uint8(bits)
		attr(true, unix.FRA_DST, address(r.Family, r.Dst.IP))
	}
	attr(r.IifName != "", unix.FRA_IIFNAME, nl.ZeroTerminated(r.IifName))
	attr(r.OifName != "", unix.FRA_OIFNAME, nl.ZeroTerminated(r.OifName))
	attr(r.Mark != 0 || r.Mask != nil, unix.FRA_FWMARK, nl.Uint32Attr(r.Mark))
	if r.Mask != nil {
		attr(true, unix.FRA_FWMASK, nl.Uint32Attr(*r.Mask))
	}
	attr(r.SuppressPrefixlen >= 0, unix.FRA_SUPPRESS_PREFIXLEN, nl.Uint32Attr(uint32(r.SuppressPrefixlen)))
	attr(r.Protocol != 0, unix.FRA_PROTOCOL, nl.Uint8Attr(r.Protocol))
	req.AddData(header)
	for _, a := range attrs {
		req.AddData(a)
	}
}

// address is the bytes of an address: an IPv4 one may be spelled as sixteen.
func address(family int, ip net.IP) []byte {
	if family == netlink.FAMILY_V4 {
		return ip.To4()
	}
	return ip.To16()
}

package rule

import (
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/linux/nlmsg"
)

// send requests that a rule be added (RTM_NEWRULE) or removed (RTM_DELRULE). The library's
// own request uses the header of a route, whose protocol lies in what are reserved bytes in
// that of a rule (struct fib_rule_hdr in linux/fib_rules.h).
func send(request, flags int, r *netlink.Rule) error {
	socket, err := nlmsg.OpenSocket(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := socket.Socket.SetExtAck(true); err != nil {
		return err
	}
	req := nl.NewNetlinkRequest(request, unix.NLM_F_ACK|flags)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: socket}
	addData(req, r)
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// addData adds the header and the attributes of the rule to a request.
func addData(req *nl.NetlinkRequest, r *netlink.Rule) {
	header := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(r.Family)}}
	header.Type = r.Type
	if r.Invert {
		header.Flags |= netlink.FibRuleInvert
	}
	var attrs []*nl.RtAttr
	attr := func(kind int, value []byte) { attrs = append(attrs, nl.NewRtAttr(kind, value)) }
	attrIf := func(set bool, kind int, value []byte) {
		if set {
			attr(kind, value)
		}
	}
	attrIf(r.Table != 0, unix.FRA_TABLE, nl.Uint32Attr(uint32(r.Table)))
	attrIf(r.Priority >= 0, unix.FRA_PRIORITY, nl.Uint32Attr(uint32(r.Priority)))
	if r.Src != nil {
		bits, _ := r.Src.Mask.Size()
		header.Src_len = uint8(bits)
		attr(unix.FRA_SRC, address(r.Family, r.Src.IP))
	}
	if r.Dst != nil {
		bits, _ := r.Dst.Mask.Size()
		header.Dst_len = uint8(bits)
		attr(unix.FRA_DST, address(r.Family, r.Dst.IP))
	}
	attrIf(r.IifName != "", unix.FRA_IIFNAME, nl.ZeroTerminated(r.IifName))
	attrIf(r.OifName != "", unix.FRA_OIFNAME, nl.ZeroTerminated(r.OifName))
	attrIf(r.Mark != 0 || r.Mask != nil, unix.FRA_FWMARK, nl.Uint32Attr(r.Mark))
	if r.Mask != nil {
		attr(unix.FRA_FWMASK, nl.Uint32Attr(*r.Mask))
	}
	attrIf(r.SuppressPrefixlen >= 0, unix.FRA_SUPPRESS_PREFIXLEN, nl.Uint32Attr(uint32(r.SuppressPrefixlen)))
	attrIf(r.Protocol != 0, unix.FRA_PROTOCOL, nl.Uint8Attr(r.Protocol))
	req.AddData(header)
	for _, a := range attrs {
		req.AddData(a)
	}
}

// address returns the bytes of an address. The library may hold an IPv4 address as sixteen.
func address(family int, ip net.IP) []byte {
	if family == netlink.FAMILY_V4 {
		return ip.To4()
	}
	return ip.To16()
}

package path

import (
	"bytes"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// IPsec returns the policies for what this host sends. It returns none where the kernel or the
// user may not list them, and does not load the kernel's module for them.
//
// netlink.XfrmPolicyList cannot be used: it takes an IPv6 prefix of at most 32 bits for an IPv4
// one.
func IPsec() (list []apply.IPsecPolicy) {
	if !hasIPsec() {
		return nil
	}
	socket, err := nlmsg.OpenSocket(unix.NETLINK_XFRM)
	if err != nil {
		return nil
	}
	defer socket.Close()
	req := nl.NewNetlinkRequest(nl.XFRM_MSG_GETPOLICY, unix.NLM_F_DUMP)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_XFRM: socket}
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	err = req.ExecuteIter(unix.NETLINK_XFRM, nl.XFRM_MSG_NEWPOLICY, func(b []byte) bool {
		if p, ok := ipsecPolicy(b); ok {
			list = append(list, p)
		}
		return true
	})
	if err != nil {
		return nil
	}
	return list
}

// hasIPsec reports whether the kernel has its socket for policies (xfrm_user_net_init):
// opening another one would load the module.
func hasIPsec() bool {
	sockets, err := os.ReadFile("/proc/self/net/netlink")
	if err != nil {
		return false
	}
	for line := range bytes.Lines(sockets) {
		if fields := bytes.Fields(line); len(fields) > 2 && string(fields[1]) == "6" && string(fields[2]) == "0" {
			return true
		}
	}
	return false
}

// ipsecPolicy reads a policy for packets that are sent. One for an xfrm interface (if_id) takes
// only what is routed there.
func ipsecPolicy(b []byte) (p apply.IPsecPolicy, ok bool) {
	if len(b) < nl.SizeofXfrmUserpolicyInfo {
		return p, false
	}
	msg := nl.DeserializeXfrmUserpolicyInfo(b)
	if netlink.Dir(msg.Dir) != netlink.XFRM_DIR_OUT {
		return p, false
	}
	sel := &msg.Sel
	p = apply.IPsecPolicy{
		Source:   netip.PrefixFrom(xfrmAddr(sel.Saddr, sel.Family), int(sel.PrefixlenS)),
		Dest:     netip.PrefixFrom(xfrmAddr(sel.Daddr, sel.Family), int(sel.PrefixlenD)),
		Protocol: sel.Proto, SrcPort: int(nl.Swap16(sel.Sport)), DestPort: int(nl.Swap16(sel.Dport)),
		Limited: sel.Ifindex != 0 || sel.User != 0, Priority: msg.Priority,
		Blocks: netlink.PolicyAction(msg.Action) == netlink.XFRM_POLICY_BLOCK,
	}
	for kind, value := range nlmsg.Attributes(b[nl.SizeofXfrmUserpolicyInfo:]) {
		switch kind {
		case nl.XFRMA_IF_ID:
			if nlmsg.Word(value) != 0 {
				return p, false
			}
		case nl.XFRMA_MARK:
			mark := nl.DeserializeXfrmMark(value)
			p.Mark = apply.Mark{Value: mark.Value, Mask: mark.Mask}
		case nl.XFRMA_TMPL:
			p.To = gateway(value)
		}
	}
	return p, p.Source.IsValid() && p.Dest.IsValid()
}

// gateway returns where a policy's first template in tunnel mode sends packets. One that is
// optional takes only what there is a key for.
func gateway(templates []byte) netip.Addr {
	for ; len(templates) >= nl.SizeofXfrmUserTmpl; templates = templates[nl.SizeofXfrmUserTmpl:] {
		t := nl.DeserializeXfrmUserTmpl(templates)
		to := xfrmAddr(t.XfrmId.Daddr, t.Family)
		if netlink.Mode(t.Mode) == netlink.XFRM_MODE_TUNNEL && t.Optional == 0 && !to.IsUnspecified() {
			return to
		}
	}
	return netip.Addr{}
}

func xfrmAddr(a nl.XfrmAddress, family uint16) netip.Addr {
	if family == unix.AF_INET6 {
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte(a[:4]))
}

package path

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/route"
)

// A pathLink is a link that a path can lead through.
type pathLink struct {
	name       string
	index      int
	kind       string
	carrier    Hop // of a kernel's tunnel that is not WireGuard: how it sends what is routed into it
	mtu4, mtu6 int // in bytes; that of IPv6 may come from router advertisements
}

func (l pathLink) narrow() bool { return min(l.mtu4, l.mtu6) < route.Ethernet }

func readLinks() (links []pathLink, err error) {
	socket, err := nlmsg.OpenSocket(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: socket}
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	err = req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWLINK, func(b []byte) bool {
		l := pathLink{index: int(nl.DeserializeIfInfomsg(b).Index)}
		for kind, value := range nlmsg.Attributes(b[unix.SizeofIfInfomsg:]) {
			switch kind {
			case unix.IFLA_IFNAME:
				l.name = unix.ByteSliceToString(value)
			case unix.IFLA_MTU:
				l.mtu4 = int(nlmsg.Word(value))
			case unix.IFLA_LINKINFO:
				l.kind, l.carrier = linkInfo(value)
			case unix.IFLA_AF_SPEC:
				l.mtu6 = mtu6(value)
			}
		}
		if l.mtu6 == 0 || l.mtu6 > l.mtu4 {
			l.mtu6 = l.mtu4
		}
		links = append(links, l)
		return true
	})
	return links, err
}

// carriers are the kinds of tunnels that send packets of another sort to one address, with a
// mark of their own (ip_tunnel_xmit, ip6_tnl_xmit), and the attribute of that address.
var carriers = map[string]uint16{"sit": nl.IFLA_IPTUN_REMOTE, "ipip": nl.IFLA_IPTUN_REMOTE,
	"ip6tnl": nl.IFLA_IPTUN_REMOTE, "gre": nl.IFLA_GRE_REMOTE, "ip6gre": nl.IFLA_GRE_REMOTE}

// carrierMark is IFLA_IPTUN_FWMARK and IFLA_GRE_FWMARK (linux/if_tunnel.h).
const carrierMark = 20

// linkInfo parses IFLA_LINKINFO, in which the kind comes before what it is about.
func linkInfo(info []byte) (kind string, carrier Hop) {
	for attr, value := range nlmsg.Attributes(info) {
		switch attr {
		case unix.IFLA_INFO_KIND:
			kind = unix.ByteSliceToString(value)
		case unix.IFLA_INFO_DATA:
			if remote, ok := carriers[kind]; ok {
				carrier = carrierOf(value, remote)
			}
		}
	}
	return kind, carrier
}

func carrierOf(data []byte, remote uint16) (hop Hop) {
	for attr, value := range nlmsg.Attributes(data) {
		switch attr {
		case remote:
			if a, ok := netip.AddrFromSlice(value); ok && !a.IsUnspecified() {
				hop.To = netip.AddrPortFrom(a, 0)
			}
		case carrierMark:
			hop.Mark = uint32(nlmsg.Word(value))
		}
	}
	return hop
}

// mtu6 returns a link's MTU for IPv6, or 0 if it has no IPv6. It is an element of an array
// of parameters (DEVCONF_MTU6 in linux/ipv6.h).
func mtu6(families []byte) int {
	const devconfMTU6 = 2
	for family, value := range nlmsg.Attributes(families) {
		if family != unix.AF_INET6 {
			continue
		}
		for kind, conf := range nlmsg.Attributes(value) {
			if kind == unix.IFLA_INET6_CONF && len(conf) >= 4*(devconfMTU6+1) {
				return int(nlmsg.Word(conf[4*devconfMTU6 : 4*(devconfMTU6+1)]))
			}
		}
	}
	return 0
}

// pathInto returns the path to a link-local address, whose zone is the name of its link.
func pathInto(zone string, links []pathLink) apply.Path {
	for _, l := range links {
		if l.name == zone {
			return apply.Path{Link: l.name, MTU: l.mtu6}
		}
	}
	return apply.Path{}
}

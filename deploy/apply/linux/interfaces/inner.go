package interfaces

import (
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	rtnl "github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/route"
)

// innerKinds are the kinds of interfaces (ip-link(8), rtnl_link_ops.kind) behind which are
// containers, virtual machines or another tunnel.
var innerKinds = []string{"bridge", "veth", "dummy", "wireguard", "tuntap", "tun", "vxlan", "geneve", "gre", "ipip",
	"sit", "ip6tnl"}

// ObserveInner finds the interfaces whose networks can answer an INSIDE source address
// directly, so that packets to them need no masquerading: bridges of containers, other
// tunnels. Such an interface has a network of its own and no route through a gateway; one
// that is down has neither. If only the tunnel's own interface has a gateway, as at boot,
// the absence of one proves nothing, and none are returned.
func ObserveInner(nl *netlink.Handle, name string, s *apply.State) error {
	links, err := nlmsg.Retry(nl.LinkList)
	if err != nil {
		return err
	}
	routed, err := routedLinks()
	for _, l := range links {
		if l.Attrs().Name == name {
			delete(routed, l.Attrs().Index)
		}
	}
	if err != nil || len(routed) == 0 {
		return err
	}
	addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	network := withNetwork(addrs)
	for _, l := range links {
		a := l.Attrs()
		alone := a.Flags&net.FlagUp != 0 && a.MasterIndex == 0 && network[a.Index] && !routed[a.Index]
		if a.Name != name && alone && slices.Contains(innerKinds, l.Type()) {
			s.Inner = append(s.Inner, a.Name)
		}
	}
	slices.Sort(s.Inner)
	return nil
}

// withNetwork returns the indexes of the links that have an address with a prefix of more
// than one address.
func withNetwork(addrs []netlink.Addr) map[int]bool {
	network := map[int]bool{}
	for _, a := range addrs {
		p, ok := nlmsg.Prefix(a.IPNet)
		network[a.LinkIndex] = network[a.LinkIndex] || ok && !p.IsSingleIP() && !p.Addr().IsLinkLocalUnicast()
	}
	return network
}

// routedLinks returns the indexes of the interfaces that have, in any table, a route
// through a gateway or a default route.
func routedLinks() (map[int]bool, error) {
	routed := map[int]bool{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		_, err := nlmsg.Retry(func() ([]bool, error) {
			return nil, route.Dump(family, func(msg *rtnl.RtMsg, attrs []byte) { learnRouted(routed, msg, attrs) })
		})
		if err != nil {
			return nil, err
		}
	}
	return routed, nil
}

func learnRouted(routed map[int]bool, msg *rtnl.RtMsg, attrs []byte) {
	if msg.Type != unix.RTN_UNICAST {
		return
	}
	link, gateway := 0, msg.Dst_len == 0
	for kind, value := range nlmsg.Attributes(attrs) {
		switch kind {
		case unix.RTA_OIF:
			link = int(nlmsg.Word(value))
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			gateway = true
		case unix.RTA_MULTIPATH: // struct rtnexthop: length, flags, hops, interface
			for len(value) >= unix.SizeofRtNexthop {
				n := int(nlmsg.Word(value[:2]))
				routed[int(nlmsg.Word(value[4:8]))] = true
				if n < unix.SizeofRtNexthop || n > len(value) {
					return
				}
				value = value[min(len(value), (n+3)&^3):]
			}
		}
	}
	if gateway && link != 0 {
		routed[link] = true
	}
}

package linux

import (
	"encoding/binary"
	"net/netip"
	"slices"

	mdlayher "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// ethernet is how wide the path of the default MTU is, with the longest headers.
const ethernet = apply.DefaultMTU + 80

// observePaths finds how wide the paths to the peers are. Where no link and no
// route of the host is narrower than Ethernet, nor the tunnel file asks for more,
// none can matter, and the kernel is not asked about ten thousand addresses.
//
// What the kernel has learned of a path beyond the first router does not count:
// it forgets that after ten minutes, and a plan that is empty would not stay so.
func (k *Kernel) observePaths(name string, s *apply.State, view *tunnel.View, entries journal.Entries) error {
	links, err := nlmsg.Retry(readLinks)
	if err != nil {
		return err
	}
	narrow := slices.ContainsFunc(links, func(l pathLink) bool { return l.name != name && l.narrow() })
	mark := s.Device.FwMark
	if s.Link == nil {
		mark = view.FwMark
	}
	if s.LinkIndex == 0 && rangesOf(view).bits == nil {
		// Nobody has read the routes.
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			if _, err := nlmsg.Retry(func() ([]foundRoute, error) { return k.readRoutes(0, family, ranges{}, nil) }); err != nil {
				return err
			}
		}
	}
	if !narrow && !k.narrowRoute && view.MTU <= apply.DefaultMTU {
		return nil
	}
	s.Paths, err = lookUp(outside(s, view, entries), mark, links, name)
	return err
}

// outside are the addresses to look up, each once: all that the link has, and
// those that it is to get.
func outside(s *apply.State, view *tunnel.View, entries journal.Entries) []netip.Addr {
	seen := map[netip.Addr]bool{}
	addrs := []netip.Addr{}
	add := func(a netip.Addr) {
		if a.IsValid() && !seen[a] {
			seen[a] = true
			addrs = append(addrs, a)
		}
	}
	for _, a := range apply.Anywhere {
		add(a)
	}
	live := make(map[keyring.PublicKey]bool, len(s.Peers))
	for i := range s.Peers {
		add(s.Peers[i].Endpoint.Addr())
		live[s.Peers[i].PublicKey] = s.Peers[i].Endpoint.IsValid()
	}
	for i := range view.Peers {
		p := &view.Peers[i]
		if p.Endpoint == "" || live[p.PublicKey] && entries.Peer(p.PublicKey).Set == p.Endpoint {
			continue
		}
		if literal, err := netip.ParseAddrPort(p.Endpoint); err == nil {
			add(literal.Addr())
		}
	}
	for _, e := range s.Endpoints {
		for _, a := range e.All() {
			add(a.Addr())
		}
	}
	return addrs
}

// A pathLink is what a path leads through.
type pathLink struct {
	name       string
	index      int
	mtu4, mtu6 int // of either family; one of IPv6 may come from router advertisements
}

func (l pathLink) narrow() bool { return min(l.mtu4, l.mtu6) < ethernet }

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

// mtu6 finds a link's MTU for IPv6 among its parameters, which come as an array
// of numbers (DEVCONF_MTU6 in linux/ipv6.h); 0: it has no IPv6.
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

// isNarrow reports whether a route says by itself that its path is narrow
// (ip route … mtu 1400).
func isNarrow(route []byte) bool {
	mtu := routeMTU(route[unix.SizeofRtMsg:])
	return mtu != 0 && mtu < ethernet
}

// routeMTU finds the MTU that a route has of its own; 0: none.
func routeMTU(attrs []byte) int {
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

// lookUp asks the kernel for the route to each address, a number of them at a
// time. The encrypted packets carry mark.
func lookUp(addrs []netip.Addr, mark uint32, links []pathLink, own string) (map[netip.Addr]apply.Path, error) {
	conn, err := mdlayher.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	byIndex := map[int]pathLink{}
	for _, l := range links {
		if l.name != own {
			byIndex[l.index] = l
		}
	}
	paths := make(map[netip.Addr]apply.Path, len(addrs))
	for some := range slices.Chunk(addrs, 32) { // whose answers the socket has room for
		requests := make([]mdlayher.Message, len(some))
		for i, a := range some {
			if requests[i], err = routeRequest(a.WithZone(""), mark); err != nil {
				return nil, err
			}
		}
		if _, err := conn.SendMessages(requests); err != nil {
			return nil, err
		}
		for _, a := range some {
			paths[a] = apply.Path{}
			answer, err := conn.Receive()
			if err == nil && len(answer) == 1 { // else there is no route
				paths[a] = pathOf(answer[0].Data, byIndex)
			}
			if a.Zone() != "" {
				paths[a] = pathInto(a.Zone(), links)
			}
		}
	}
	return paths, nil
}

// routeRequest asks for the route to an address as it is in the table.
func routeRequest(a netip.Addr, mark uint32) (mdlayher.Message, error) {
	family := byte(unix.AF_INET)
	if a.Is6() {
		family = unix.AF_INET6
	}
	head := make([]byte, unix.SizeofRtMsg)
	head[0], head[1] = family, byte(a.BitLen())
	binary.NativeEndian.PutUint32(head[8:], unix.RTM_F_FIB_MATCH)
	e := mdlayher.NewAttributeEncoder()
	e.Bytes(unix.RTA_DST, a.AsSlice())
	if mark != 0 {
		e.Uint32(unix.RTA_MARK, mark)
	}
	attrs, err := e.Encode()
	return mdlayher.Message{
		Header: mdlayher.Header{Type: unix.RTM_GETROUTE, Flags: mdlayher.Request},
		Data:   append(head, attrs...),
	}, err
}

// pathOf reads the answer. Of several next hops the narrowest counts; one into
// the tunnel itself is none.
func pathOf(route []byte, links map[int]pathLink) (path apply.Path) {
	if len(route) < unix.SizeofRtMsg {
		return path
	}
	attrs := route[unix.SizeofRtMsg:]
	through := func(index int) {
		l, ok := links[index]
		mtu := l.mtu4
		if route[0] == unix.AF_INET6 {
			mtu = l.mtu6
		}
		if own := routeMTU(attrs); own != 0 {
			mtu = min(mtu, own)
		}
		if ok && (path.MTU == 0 || mtu < path.MTU) {
			path = apply.Path{Link: l.name, MTU: mtu}
		}
	}
	for kind, value := range nlmsg.Attributes(attrs) {
		switch kind {
		case unix.RTA_OIF:
			through(int(nlmsg.Word(value)))
		case unix.RTA_MULTIPATH: // a list of struct rtnexthop (rtnetlink(7))
			for len(value) >= unix.SizeofRtNexthop {
				size := int(binary.NativeEndian.Uint16(value))
				through(int(nlmsg.Word(value[4:8])))
				value = value[min(max(size, unix.SizeofRtNexthop), len(value)):]
			}
		}
	}
	return path
}

// pathInto is the path to a link-local address, which has its link's name.
func pathInto(zone string, links []pathLink) apply.Path {
	for _, l := range links {
		if l.name == zone {
			return apply.Path{Link: l.name, MTU: l.mtu6}
		}
	}
	return apply.Path{}
}

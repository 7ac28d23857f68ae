package path

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	mdlayher "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/route"
)

// A found is what the kernel says about addresses.
type found struct {
	paths    map[netip.Addr]apply.Path // of each
	unrouted map[netip.Addr]bool       // that have no route, or one that rejects or drops
	looped   map[netip.Addr]bool       // that the tunnel itself leads to
}

// A sender is a device that sends encrypted packets: rules may look at their mark and at
// their ports, and at UDP.
type sender struct {
	mark uint32
	port int
}

// Dead returns those addresses to which the device sends nothing: there is no route, or it
// is through the tunnel itself.
func Dead(device *apply.State, addrs []netip.AddrPort) (map[netip.Addr]bool, error) {
	f, err := ask(addrs, sender{device.Device.FwMark, device.Device.ListenPort}, linksOut{own: device.LinkIndex})
	if err != nil {
		return nil, err
	}
	dead := f.unrouted
	for a := range f.looped {
		dead[a] = true
	}
	return dead, nil
}

// LeadsInto reports whether the device's encrypted packets to an address would be routed
// into the tunnel itself.
func LeadsInto(device *apply.State, addr netip.AddrPort) bool {
	f, err := ask([]netip.AddrPort{addr}, sender{device.Device.FwMark, device.Device.ListenPort},
		linksOut{own: device.LinkIndex})
	return err == nil && f.looped[addr.Addr()]
}

// ask asks the kernel for the route to each address, for packets of the sender.
func ask(addrs []netip.AddrPort, from sender, links linksOut) (f found, err error) {
	if len(addrs) == 0 {
		return f, nil
	}
	conn, err := mdlayher.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return f, err
	}
	defer conn.Close()
	f = found{make(map[netip.Addr]apply.Path, len(addrs)), map[netip.Addr]bool{}, map[netip.Addr]bool{}}
	for some := range slices.Chunk(addrs, 32) { // as many as the socket's buffer has room for answers
		requests := make([]mdlayher.Message, len(some))
		for i, a := range some {
			if requests[i], err = routeRequest(a, from); err != nil {
				return f, err
			}
		}
		if _, err := conn.SendMessages(requests); err != nil {
			return f, err
		}
		for _, a := range some {
			answer, err := conn.Receive()
			f.take(a.Addr(), answer, err, links)
		}
	}
	return f, nil
}

// Type linksOut has the links that packets can leave by.
type linksOut struct {
	all []pathLink
	out map[int]pathLink // without the tunnel itself
	own int              // the tunnel; 0: it is not up
}

func outOf(links []pathLink, own string) linksOut {
	l := linksOut{all: links, out: map[int]pathLink{}}
	for _, link := range links {
		if link.name == own {
			l.own = link.index
		} else {
			l.out[link.index] = link
		}
	}
	return l
}

// take takes the answer for one address. The zone of one says its link.
func (f *found) take(a netip.Addr, answer []mdlayher.Message, err error, links linksOut) {
	f.paths[a] = apply.Path{}
	switch {
	case a.Zone() != "":
		f.paths[a] = pathInto(a.Zone(), links.all)
	case err == nil && len(answer) == 1:
		f.paths[a] = pathOf(answer[0].Data, links.out)
		if leadsTo(answer[0].Data, links.own) {
			f.looped[a] = true
		}
	case isUnrouted(err):
		f.unrouted[a] = true
	}
}

// leadsTo reports whether the route in an answer has that link alone.
func leadsTo(answer []byte, link int) bool {
	if len(answer) < unix.SizeofRtMsg {
		return false
	}
	for kind, value := range nlmsg.Attributes(answer[unix.SizeofRtMsg:]) {
		if kind == unix.RTA_OIF {
			return int(nlmsg.Word(value)) == link
		}
	}
	return false
}

// isUnrouted reports whether an answer says that packets to an address go nowhere: there is
// no route, or it is an unreachable, prohibit or blackhole route (fib_props,
// ip6_rt_type_to_error).
func isUnrouted(err error) bool {
	return errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EACCES) ||
		errors.Is(err, unix.EINVAL)
}

// routeRequest asks for the route to an address as it is in the table (RTM_F_FIB_MATCH).
func routeRequest(to netip.AddrPort, from sender) (mdlayher.Message, error) {
	family, a := byte(unix.AF_INET), to.Addr().WithZone("")
	if a.Is6() {
		family = unix.AF_INET6
	}
	head := make([]byte, unix.SizeofRtMsg)
	head[0], head[1] = family, byte(a.BitLen())
	binary.NativeEndian.PutUint32(head[8:], unix.RTM_F_FIB_MATCH)
	e := mdlayher.NewAttributeEncoder()
	e.Bytes(unix.RTA_DST, a.AsSlice())
	if from.mark != 0 {
		e.Uint32(unix.RTA_MARK, from.mark)
	}
	e.Uint8(unix.RTA_IP_PROTO, unix.IPPROTO_UDP)
	e.ByteOrder = binary.BigEndian // the ports are as in a packet
	if from.port != 0 {
		e.Uint16(unix.RTA_SPORT, uint16(from.port))
	}
	if to.Port() != 0 {
		e.Uint16(unix.RTA_DPORT, to.Port())
	}
	attrs, err := e.Encode()
	return mdlayher.Message{
		Header: mdlayher.Header{Type: unix.RTM_GETROUTE, Flags: mdlayher.Request},
		Data:   append(head, attrs...),
	}, err
}

// pathOf parses the answer. If there are several next hops, the narrowest counts. A next hop through
// the tunnel itself is left out.
func pathOf(answer []byte, links map[int]pathLink) (path apply.Path) {
	if len(answer) < unix.SizeofRtMsg {
		return path
	}
	attrs := answer[unix.SizeofRtMsg:]
	through := func(index int) {
		l, ok := links[index]
		mtu := l.mtu4
		if answer[0] == unix.AF_INET6 {
			mtu = l.mtu6
		}
		if own := route.MTU(attrs); own != 0 {
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

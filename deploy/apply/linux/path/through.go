package path

import (
	"errors"
	"net/netip"
	"slices"

	mdlayher "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/route"
	"wgkeys/deploy/tunnel"
)

// Through asks the kernel where it sends what peers send to the prefixes that they reach
// through this host, and to this host's own networks in them. What it sends into the tunnel, to
// this host itself or by a default route is left out.
func Through(handle *netlink.Handle, view *tunnel.View, own int) ([]apply.Reached, error) {
	if len(view.Through) == 0 {
		return nil, nil
	}
	addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return handle.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, err
	}
	conn, err := mdlayher.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	t := &throughs{handle: handle, conn: conn, view: view, own: own}
	for _, a := range addrs {
		if p, ok := nlmsg.Prefix(a.IPNet); ok {
			t.local = append(t.local, p)
		}
	}
	for _, prefix := range view.Through {
		if err := t.look(prefix); err != nil {
			return nil, err
		}
	}
	return t.found, nil
}

// Type throughs looks for prefixes.
type throughs struct {
	handle *netlink.Handle
	conn   *mdlayher.Conn
	view   *tunnel.View
	own    int            // the tunnel's link; 0: there is none yet
	local  []netip.Prefix // the host's addresses, with the lengths of their networks
	found  []apply.Reached
}

// look asks for a prefix, and for those of the host's networks that are parts of it.
func (t *throughs) look(prefix netip.Prefix) error {
	parts := t.parts(prefix)
	for _, part := range parts {
		addr := t.probe(part)
		r, err := t.route(addr)
		switch {
		case errors.Is(err, unix.ENETUNREACH) && len(parts) == 1:
			err = t.addUnrouted(prefix, addr)
		case err == nil && r.kind == unix.RTN_UNICAST && r.bits > 0 && r.link != t.own:
			err = t.add(prefix, part, addr, r)
		default:
			err = nil // it is known where to, or that it leads nowhere
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parts are a prefix and those of the host's networks that lie in it.
func (t *throughs) parts(prefix netip.Prefix) []netip.Prefix {
	const most = 32
	parts := []netip.Prefix{prefix}
	for _, a := range t.local {
		n := a.Masked()
		inside := n.Bits() > prefix.Bits() && prefix.Contains(n.Addr()) && !n.IsSingleIP()
		if inside && len(parts) < most && !slices.Contains(parts, n) {
			parts = append(parts, n)
		}
	}
	return parts
}

func (t *throughs) addUnrouted(prefix netip.Prefix, addr netip.Addr) error {
	lost, err := t.unrouted(prefix)
	if err == nil && lost {
		t.found = append(t.found, apply.Reached{Prefix: prefix, Addr: addr, Unrouted: true})
	}
	return err
}

// add adds a part of a prefix, or what its route has of that.
func (t *throughs) add(whole, part netip.Prefix, addr netip.Addr, r routed) error {
	link, err := t.handle.LinkByIndex(r.link)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.bits > part.Bits() {
		part = netip.PrefixFrom(addr, r.bits).Masked()
	}
	one := apply.Reached{Prefix: part, Addr: addr, Link: link.Attrs().Name, Index: r.link, Part: part != whole,
		Refused: r.refused}
	same := func(o apply.Reached) bool { return o.Prefix == one.Prefix && o.Link == one.Link }
	if i := slices.IndexFunc(t.found, same); i >= 0 {
		t.found[i].Part = t.found[i].Part && one.Part
		return nil
	}
	t.found = append(t.found, one)
	return nil
}

// probe returns an address of a prefix that is not this host's own, nor the first one, which
// stands for the network.
func (t *throughs) probe(prefix netip.Prefix) netip.Addr {
	const most = 16
	addr := prefix.Addr()
	for range most {
		next := addr.Next()
		if !prefix.Contains(next) {
			break
		}
		addr = next
		if !slices.ContainsFunc(t.local, func(p netip.Prefix) bool { return p.Addr() == addr }) {
			break
		}
	}
	return addr
}

// Type routed is the kernel's answer: the route that it takes.
type routed struct {
	kind byte // RTN_*
	bits int
	link int

	refused netip.Addr // a peer from which it takes no packet for there
}

// route asks for a packet that a peer sends, since rules may look at where it comes in. Where
// that is not known yet, or this host does not forward yet, it asks for one of its own.
//
// The kernel drops a packet whose source it would not send back by the same interface, as
// rp_filter says: EXDEV, and from Linux 6.14 on EINVAL.
func (t *throughs) route(to netip.Addr) (r routed, err error) {
	from := t.peer(to.Is4())
	if t.own == 0 || !from.IsValid() {
		return t.ask(to, from, 0)
	}
	r, err = t.ask(to, from, t.own)
	if err == nil {
		return r, nil
	}
	refused := to.Is4() && (errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL))
	if r, err = t.ask(to, from, 0); err == nil && refused {
		r.refused = from
	}
	return r, err
}

// peer is an address of the first peer that has one of the family.
func (t *throughs) peer(is4 bool) netip.Addr {
	for i := range t.view.Peers {
		for _, p := range t.view.Peers[i].AllowedIPs {
			if p.Addr().Is4() == is4 && p.IsSingleIP() {
				return p.Addr()
			}
		}
	}
	return netip.Addr{}
}

// ask asks for the route to an address: of a packet that comes in from another one by a link,
// or of one of this host's own.
func (t *throughs) ask(to, from netip.Addr, in int) (r routed, err error) {
	request, err := routeRequest(netip.AddrPortFrom(to, 0), sender{})
	if err != nil {
		return r, err
	}
	if in != 0 {
		request.Data[2] = byte(from.BitLen())
		e := mdlayher.NewAttributeEncoder()
		e.Bytes(unix.RTA_SRC, from.AsSlice())
		e.Uint32(unix.RTA_IIF, uint32(in))
		more, err := e.Encode()
		if err != nil {
			return r, err
		}
		request.Data = append(request.Data, more...)
	}
	answer, err := t.conn.Execute(request)
	if err != nil || len(answer) != 1 || len(answer[0].Data) < unix.SizeofRtMsg {
		return r, err
	}
	data := answer[0].Data
	r = routed{kind: data[7], bits: int(data[1])}
	for kind, value := range nlmsg.Attributes(data[unix.SizeofRtMsg:]) {
		switch {
		case kind == unix.RTA_OIF:
			r.link = int(nlmsg.Word(value))
		case kind == unix.RTA_MULTIPATH && len(value) >= unix.SizeofRtNexthop:
			r.link = int(nlmsg.Word(value[4:8])) // of several the first
		}
	}
	return r, nil
}

// unrouted reports whether this host has no route to anything in a prefix to which it has none
// as a whole, and no peer has anything of it.
func (t *throughs) unrouted(prefix netip.Prefix) (bool, error) {
	for i := range t.view.Peers {
		if slices.ContainsFunc(t.view.Peers[i].AllowedIPs, prefix.Overlaps) {
			return false, nil
		}
	}
	if slices.ContainsFunc(t.view.Networks(), prefix.Overlaps) {
		return false, nil
	}
	family, some := netlink.FAMILY_V4, false
	if prefix.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	_, err := nlmsg.Retry(func() ([]bool, error) {
		return nil, route.Dump(family, func(msg *nl.RtMsg, attrs []byte) {
			some = some || inPrefix(prefix, int(msg.Dst_len), attrs)
		})
	})
	return !some && err == nil, err
}

// inPrefix reports whether a route is to a part of a prefix.
func inPrefix(prefix netip.Prefix, bits int, attrs []byte) bool {
	for kind, value := range nlmsg.Attributes(attrs) {
		if kind == unix.RTA_DST {
			a, ok := netip.AddrFromSlice(value)
			return ok && bits >= prefix.Bits() && prefix.Contains(a)
		}
	}
	return false
}

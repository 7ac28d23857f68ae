package linux

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// standInMetric is more than that of any route that somebody has beside others.
const standInMetric = 1 << 20

// StandIn keeps packets on their way while a program takes the addresses and routes of a
// link with it, or ends that. Each address is there once more: of IPv4 on the link with
// another length, for without any it has no routes either (fib_disable_ip), of IPv6,
// which has an address once on a link, on the loopback device, and with a label that makes
// it the source of what goes into the tunnel (RFC 6724, rule 6; without one it would be
// an uplink's, for which peers have no allowed IP). So is each route, of a
// metric for which nobody looks at it before; it is of the protocol of the kernel's, which
// network managers leave alone. The link and its peers have to stay.
func (k *Kernel) StandIn(link string, was *apply.Adopted, on bool) error {
	l, err := k.nl.LinkByName(link)
	gone := errors.As(err, new(netlink.LinkNotFoundError)) && !on // and with it what is on it
	if err != nil && !gone {
		return err
	}
	lo, err := k.nl.LinkByName("lo")
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range was.Addresses {
		addr := a.Prefix.Addr()
		switch {
		case addr.Is4() && gone:
		case addr.Is4():
			bits := 32
			if a.Prefix.Bits() == 32 {
				bits = 31
			}
			errs = append(errs, k.standInAddress(l, netip.PrefixFrom(addr, bits), on))
		case !was.Elsewhere[addr]:
			single := netip.PrefixFrom(addr, 128)
			errs = append(errs, label(single, on), k.standInAddress(lo, single, on))
		}
	}
	for _, prefix := range was.Connected {
		errs = append(errs, label(prefix, on), k.standInRoute(l, apply.Route{Prefix: prefix}, on))
	}
	for _, r := range was.Routes {
		errs = append(errs, label(r.Prefix, on), k.standInRoute(l, r, on))
	}
	return errors.Join(errs...)
}

func (k *Kernel) standInAddress(l netlink.Link, prefix netip.Prefix, on bool) error {
	addr := &netlink.Addr{IPNet: nlmsg.IPNet(prefix), Flags: unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_NODAD}
	if prefix.Addr().Is4() {
		addr.Broadcast = net.IPv4zero // none
	}
	if on {
		return nlmsg.Ignore(k.nl.AddrAdd(l, addr), unix.EEXIST)
	}
	return nlmsg.Ignore(k.nl.AddrDel(l, addr), unix.EADDRNOTAVAIL)
}

func (k *Kernel) standInRoute(l netlink.Link, r apply.Route, on bool) error {
	if l == nil { // it is gone
		return nil
	}
	route := &netlink.Route{
		LinkIndex: l.Attrs().Index,
		Dst:       nlmsg.IPNet(r.Prefix),
		Priority:  r.Metric + standInMetric,
		Table:     r.Table,
		Protocol:  unix.RTPROT_KERNEL,
		Scope:     netlink.SCOPE_UNIVERSE, // IPv6 routes have no other
	}
	if r.Gateway.IsValid() {
		route.Gw = r.Gateway.AsSlice()
	} else if r.Prefix.Addr().Is4() {
		route.Scope = netlink.SCOPE_LINK
	}
	if on {
		return nlmsg.Ignore(k.nl.RouteAdd(route), unix.EEXIST)
	}
	return nlmsg.Ignore(k.nl.RouteDel(route), unix.ESRCH)
}

// standInLabel is no label that a policy table has (RFC 6724, section 2.1; ip-addrlabel(8)).
const standInLabel = 7767

// label gives an IPv6 prefix the label of the stand-ins, or takes it away. A default route
// stands for all that is global: the label of ::/0 is that of everything else.
func label(prefix netip.Prefix, on bool) error {
	if prefix.Addr().Is4() {
		return nil
	}
	if prefix.Bits() < 3 {
		prefix = netip.MustParsePrefix("2000::/3")
	}
	if on {
		_, err := labelRequest(unix.RTM_NEWADDRLABEL, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, prefix)
		return nlmsg.Ignore(err, unix.EEXIST)
	}
	// The kernel takes away whatever label there is: somebody's own stays.
	for { // the kernel may take one twice, whatever NLM_F_EXCL says
		all, err := labelRequest(unix.RTM_GETADDRLABEL, unix.NLM_F_DUMP, netip.Prefix{})
		if err != nil || !hasStandInLabel(all, prefix) {
			return err
		}
		if _, err := labelRequest(unix.RTM_DELADDRLABEL, unix.NLM_F_ACK, prefix); err != nil {
			return nlmsg.Ignore(err, unix.ESRCH)
		}
	}
}

func labelRequest(kind, flags int, prefix netip.Prefix) ([][]byte, error) {
	req := nl.NewNetlinkRequest(kind, flags)
	if !prefix.IsValid() { // all
		req.AddData(labelMessage{})
		return req.Execute(unix.NETLINK_ROUTE, 0)
	}
	req.AddData(labelMessage{bits: byte(prefix.Bits())})
	req.AddData(nl.NewRtAttr(unix.IFAL_ADDRESS, prefix.Masked().Addr().AsSlice()))
	if kind != unix.RTM_GETADDRLABEL { // the kernel wants it to remove one too
		req.AddData(nl.NewRtAttr(unix.IFAL_LABEL, nl.Uint32Attr(standInLabel)))
	}
	return req.Execute(unix.NETLINK_ROUTE, 0)
}

func hasStandInLabel(all [][]byte, prefix netip.Prefix) bool {
	for _, m := range all {
		if len(m) < (labelMessage{}).Len() || int(m[2]) != prefix.Bits() {
			continue
		}
		attrs, err := nl.ParseRouteAttr(m[labelMessage{}.Len():])
		its, ours := false, false
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.IFAL_ADDRESS:
				at, ok := netip.AddrFromSlice(a.Value)
				its = ok && at == prefix.Masked().Addr()
			case unix.IFAL_LABEL:
				ours = len(a.Value) == 4 && nl.NativeEndian().Uint32(a.Value) == standInLabel
			}
		}
		if err == nil && its && ours {
			return true
		}
	}
	return false
}

// A labelMessage is struct ifaddrlblmsg of linux/if_addrlabel.h.
type labelMessage struct{ bits byte }

func (m labelMessage) Len() int { return 12 }

func (m labelMessage) Serialize() []byte {
	return []byte{unix.AF_INET6, 0, m.bits, 0, 0, 0, 0, 0, 0, 0, 0, 0}
}

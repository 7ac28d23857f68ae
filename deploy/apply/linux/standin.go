package linux

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// standInMetric is more than that of any route that somebody has beside others.
const standInMetric = 1 << 20

// StandIn keeps packets on their way while a program takes the addresses and routes of a
// link with it, or ends that. Each address is there once more: of IPv4 on the link with
// another length, for without any it has no routes either (fib_disable_ip), of IPv6,
// which has an address once on a link, on the loopback device. So is each route, of a
// metric for which nobody looks at it before; it is of the protocol of the kernel's, which
// network managers leave alone. The link and its peers have to stay.
func (k *Kernel) StandIn(link string, was *apply.Adopted, on bool) error {
	l, err := k.nl.LinkByName(link)
	if errors.As(err, new(netlink.LinkNotFoundError)) && !on {
		return nil
	}
	if err != nil {
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
		case addr.Is4():
			bits := 32
			if a.Prefix.Bits() == 32 {
				bits = 31
			}
			errs = append(errs, k.standInAddress(l, netip.PrefixFrom(addr, bits), on))
		case !was.Elsewhere[addr]:
			errs = append(errs, k.standInAddress(lo, netip.PrefixFrom(addr, 128), on))
		}
	}
	for _, prefix := range was.Connected {
		errs = append(errs, k.standInRoute(l, apply.Route{Prefix: prefix}, on))
	}
	for _, r := range was.Routes {
		errs = append(errs, k.standInRoute(l, r, on))
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

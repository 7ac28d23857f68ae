package linux

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// standInMetric is greater than any metric that others would use, so that a stand-in route
// is used only where there is no other.
const standInMetric = 1 << 20

// StandIn lets packets flow while another program removes the addresses and routes of a link
// that it takes along. The link and its peers have to stay. Each address and route is added
// once more, as a stand-in:
//
//   - An IPv4 address with another prefix length on the link, because a link without any
//     IPv4 address has no IPv4 routes (fib_disable_ip).
//   - An IPv6 address on the loopback device, because a link can have it only once. An
//     address label makes it the source of packets into the tunnel (RFC 6724, rule 6).
//     Without the label that would be an uplink's address, which peers do not allow.
//   - A route with a metric so great that it is used last, and of protocol kernel, which
//     network managers leave alone.
func (k *Kernel) StandIn(ctx context.Context, link string, was *apply.Adopted) error {
	l, err := k.nl.LinkByName(link)
	if err != nil {
		return err
	}
	if err := setStandIns(k.nl, l, was, true); err != nil {
		return err
	}
	k.links.AwaitAddresses(ctx, loopback)
	return nil
}

// loopback is the device on which stand-ins of IPv6 addresses are.
const loopback = "lo"

// EndStandIn removes what [Kernel.StandIn] added. It is no error if some of it is gone, or
// the link with what was on it.
func (k *Kernel) EndStandIn(link string, was *apply.Adopted) error {
	l, err := k.links.Find(link)
	if err != nil {
		return err
	}
	return setStandIns(k.nl, l, was, false)
}

// setStandIns adds or removes the stand-ins. To remove them, l may be nil: it is gone.
func setStandIns(nl *netlink.Handle, l netlink.Link, was *apply.Adopted, on bool) error {
	lo, err := nl.LinkByName(loopback)
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range was.Addresses {
		addr := a.Prefix.Addr()
		switch {
		case addr.Is4() && l == nil:
		case addr.Is4():
			bits := 32
			if a.Prefix.Bits() == 32 {
				bits = 31
			}
			errs = append(errs, standInAddress(nl, l, netip.PrefixFrom(addr, bits), on))
		case !was.Elsewhere[addr]:
			single := netip.PrefixFrom(addr, 128)
			errs = append(errs, label(single, on), standInAddress(nl, lo, single, on))
		}
	}
	for _, prefix := range was.Connected {
		errs = append(errs, label(prefix, on), standInRoute(nl, l, apply.Route{Prefix: prefix}, on))
	}
	for _, r := range was.Routes {
		errs = append(errs, label(r.Prefix, on), standInRoute(nl, l, r, on))
	}
	return errors.Join(errs...)
}

func standInAddress(nl *netlink.Handle, l netlink.Link, prefix netip.Prefix, on bool) error {
	// Without IFA_F_NODAD, with which an address never is tentative: that is how AwaitAddresses
	// knows those that the kernel's worker has yet to give their route. Loopback devices have no
	// duplicate address detection.
	addr := &netlink.Addr{IPNet: nlmsg.IPNet(prefix), Flags: unix.IFA_F_NOPREFIXROUTE}
	if prefix.Addr().Is4() {
		addr.Broadcast = net.IPv4zero // none
	}
	if on {
		return nlmsg.Ignore(nl.AddrAdd(l, addr), unix.EEXIST)
	}
	return nlmsg.Ignore(nl.AddrDel(l, addr), unix.EADDRNOTAVAIL)
}

func standInRoute(nl *netlink.Handle, l netlink.Link, r apply.Route, on bool) error {
	if l == nil {
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
		return nlmsg.Ignore(nl.RouteAdd(route), unix.EEXIST)
	}
	return nlmsg.Ignore(nl.RouteDel(route), unix.ESRCH)
}

// standInLabel is in no default policy table (RFC 6724, section 2.1; ip-addrlabel(8)).
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
	// RTM_DELADDRLABEL deletes by prefix, whatever the label, so first make sure that it is
	// ours. It may be there twice: the kernel can add one twice in spite of NLM_F_EXCL.
	for {
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
	if kind != unix.RTM_GETADDRLABEL { // to remove a label, the kernel wants its value too
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

// A labelMessage is a struct ifaddrlblmsg (linux/if_addrlabel.h).
type labelMessage struct{ bits byte }

func (m labelMessage) Len() int { return 12 }

func (m labelMessage) Serialize() []byte {
	return []byte{unix.AF_INET6, 0, m.bits, 0, 0, 0, 0, 0, 0, 0, 0, 0}
}

package interfaces

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/firewall"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// Observe reads the host's interfaces other than loopback and, unless they are known
// already, which of them are uplinks.
func Observe(nl *netlink.Handle, s *apply.State) (err error) {
	if s.Interfaces, err = list(nl); err != nil || s.Uplinks != nil {
		return err
	}
	names := map[int]string{}
	for _, i := range s.Interfaces {
		names[i.Index] = i.Name
	}
	s.Uplinks, err = uplinks(nl, names)
	return err
}

// list returns the interfaces other than loopback, and for which address families each has
// an address that is not link-local.
func list(nl *netlink.Handle) ([]apply.Interface, error) {
	links, err := nlmsg.Retry(nl.LinkList)
	if err != nil {
		return nil, err
	}
	var all []apply.Interface
	for _, l := range links {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback == 0 {
			all = append(all, apply.Interface{Name: a.Name, Index: a.Index, Kind: kindOf(l)})
		}
	}
	addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return nl.AddrList(nil, netlink.FAMILY_ALL) })
	for _, a := range addrs {
		i := slices.IndexFunc(all, func(i apply.Interface) bool { return i.Index == a.LinkIndex })
		if p, ok := nlmsg.Prefix(a.IPNet); ok && i >= 0 && !p.Addr().IsLinkLocalUnicast() {
			all[i].IPv4 = all[i].IPv4 || p.Addr().Is4()
			all[i].IPv6 = all[i].IPv6 || p.Addr().Is6()
		}
	}
	return all, err
}

// kindOf is that of ip(8), but for a WireGuard device in user space, of which the kernel
// knows only that it is a tun.
func kindOf(l netlink.Link) string {
	if nlmsg.KindOf(l) == "tun" {
		if _, err := os.Stat(device.Socket(l.Attrs().Name)); err == nil {
			return "wireguard"
		}
	}
	return l.Type()
}

// Properties returns what rules of a packet filter may ask of links, and of a tunnel that is
// not there yet.
func Properties(nl *netlink.Handle) (map[int]firewall.Property, error) {
	links, err := nlmsg.Retry(nl.LinkList)
	all := map[int]firewall.Property{0: {Type: unix.ARPHRD_NONE}}
	types := map[string]uint16{"ether": unix.ARPHRD_ETHER, "none": unix.ARPHRD_NONE, "ppp": unix.ARPHRD_PPP,
		"loopback": unix.ARPHRD_LOOPBACK}
	for _, l := range links {
		p := firewall.Property{Group: l.Attrs().Group, Type: types[l.Attrs().EncapType]}
		if l.Type() != "device" {
			p.Kind = strings.Replace(l.Type(), "tuntap", "tun", 1)
		}
		all[l.Attrs().Index] = p
	}
	return all, err
}

// Addresses returns all addresses of the host.
func Addresses(nl *netlink.Handle) (all []netip.Addr, err error) {
	addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return nl.AddrList(nil, netlink.FAMILY_ALL) })
	for _, a := range addrs {
		if p, ok := nlmsg.Prefix(a.IPNet); ok {
			all = append(all, p.Addr())
		}
	}
	return all, err
}

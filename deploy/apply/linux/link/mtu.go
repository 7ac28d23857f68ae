package link

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/linux/nlmsg"
)

// minMTU6 is IPV6_MIN_MTU. The kernel disables IPv6 on a link with a smaller MTU.
const minMTU6 = 1280

// setMTU sets the MTU of the tunnel's link.
//
// If that enables IPv6 again, the kernel treats the link as a new one: it accepts router
// advertisements and gets a link-local address of random bits (addrconf_notify,
// addrconf_dev_config), neither of which a tunnel has (wg_open). Both are undone here. All
// link-local addresses may be removed, since the link lost all its IPv6 addresses when its
// MTU became too small.
func (l *Links) setMTU(link netlink.Link, mtu int) error {
	was := link.Attrs().MTU
	err := nlmsg.Try(l.nl, func(h *netlink.Handle) error { return h.LinkSetMTU(link, mtu) })
	if err != nil || was >= minMTU6 || mtu < minMTU6 {
		return err
	}
	err = errors.Join(l.sys.HearNoRouters(link.Attrs().Name), l.noLinkLocal(link))
	if err != nil {
		return err
	}
	addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return l.nl.AddrList(link, netlink.FAMILY_V6) })
	if err != nil {
		return nlmsg.Ignore(err, unix.EAFNOSUPPORT)
	}
	for _, a := range addrs {
		if a.IP.IsLinkLocalUnicast() {
			err := nlmsg.Try(l.nl, func(h *netlink.Handle) error { return h.AddrDel(link, &a) })
			if err := nlmsg.Ignore(err, unix.EADDRNOTAVAIL); err != nil {
				return err
			}
		}
	}
	return nil
}

// inet6AddrGenModeNone is IN6_ADDR_GEN_MODE_NONE (linux/if_link.h).
const inet6AddrGenModeNone = 1

// noLinkLocal makes the kernel generate no link-local address, as wg_open does. It uses
// netlink because /proc/sys is read-only in containers. The answer is EAFNOSUPPORT if the
// MTU is too small for IPv6 or the kernel has none.
func (l *Links) noLinkLocal(link netlink.Link) error {
	return nlmsg.Ignore(nlmsg.Try(l.nl,
		func(h *netlink.Handle) error { return h.LinkSetIP6AddrGenMode(link, inet6AddrGenModeNone) }), unix.EAFNOSUPPORT)
}

package link

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/linux/nlmsg"
)

// minMTU6 is IPV6_MIN_MTU: a narrower link has no IPv6.
const minMTU6 = 1280

// setMTU sets the MTU of a link of ours.
//
// One that is wide enough for IPv6 again has it as a link has that came this
// moment: it hears routers, and has a link-local address of random bits
// (addrconf_notify, addrconf_dev_config), which a tunnel has not (wg_open). What
// there was of IPv6 went when it became narrow, so all link-local addresses are
// those.
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

// noLinkLocal does as wg_open does: a tunnel has no link-local address of its own
// accord. By netlink, for in containers /proc/sys is read-only. EAFNOSUPPORT: it
// is too narrow for IPv6, or the kernel has none.
func (l *Links) noLinkLocal(link netlink.Link) error {
	return nlmsg.Ignore(nlmsg.Try(l.nl,
		func(h *netlink.Handle) error { return h.LinkSetIP6AddrGenMode(link, inet6AddrGenModeNone) }), unix.EAFNOSUPPORT)
}

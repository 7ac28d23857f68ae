package link

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// SetAddress makes a change of an address of a link.
func (l *Links) SetAddress(link netlink.Link, c apply.AddressChange) error {
	addr := &netlink.Addr{IPNet: nlmsg.IPNet(c.Address.Prefix)}
	if c.Address.Prefix.Addr().Is4() {
		addr.Broadcast = net.IPv4zero // none, as ip-address(8) has it; the library would make one
	}
	if c.Address.Remote.IsValid() { // its length is that of both
		addr.Peer = nlmsg.IPNet(c.Address.Remote)
	}
	switch {
	case c.Add:
		return nlmsg.Ignore(nlmsg.Try(l.nl, func(h *netlink.Handle) error { return h.AddrAdd(link, addr) }), unix.EEXIST)
	case c.Address.Prefix.Addr().Is4():
		return l.removeIPv4(link, addr)
	}
	// Where the link has no IPv6 at all it is ENXIO (inet6_addr_del).
	return nlmsg.Ignore(nlmsg.Ignore(nlmsg.Try(l.nl, func(h *netlink.Handle) error { return h.AddrDel(link, addr) }), unix.EADDRNOTAVAIL), unix.ENXIO)
}

// removeIPv4 keeps what the kernel would take along with an address: others of
// the same prefix (__inet_del_ifa, but for promote_secondaries), and with the
// link's last one all its IPv4 routes (fib_disable_ip).
func (l *Links) removeIPv4(link netlink.Link, addr *netlink.Addr) (err error) {
	putBack, err := l.sys.PromoteSecondaries(link.Attrs().Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, putBack()) }()
	return l.routes.Keep(link, func() error {
		err := nlmsg.Try(l.nl, func(h *netlink.Handle) error { return h.AddrDel(link, addr) })
		return nlmsg.Ignore(err, unix.EADDRNOTAVAIL)
	})
}

// ObserveAddresses reads the addresses of a link, but those that are valid on it alone.
func (l *Links) ObserveAddresses(link netlink.Link, s *apply.State) error {
	addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return l.nl.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	for _, a := range addrs {
		p, ok := nlmsg.Prefix(a.IPNet)
		if !ok || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		own := apply.Address{Prefix: p}
		if remote, ok := nlmsg.Prefix(a.Peer); ok {
			own = apply.Address{Prefix: netip.PrefixFrom(p.Addr(), p.Addr().BitLen()), Remote: remote}
		}
		s.Addresses = append(s.Addresses, own)
	}
	return nil
}

package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// SetAddress makes a change of an address of a link.
func (l *Links) SetAddress(link netlink.Link, c apply.AddressChange) error {
	switch {
	case c.Add:
		add := func(h *netlink.Handle) error { return h.AddrAdd(link, addressOf(c)) }
		return nlmsg.Ignore(nlmsg.Try(l.nl, add), unix.EEXIST)
	case c.Address.Prefix.Addr().Is4():
		return l.removeIPv4(link, c)
	}
	// Where the link has no IPv6 at all it is ENXIO (inet6_addr_del).
	remove := func(h *netlink.Handle) error { return h.AddrDel(link, addressOf(c)) }
	return nlmsg.Ignore(nlmsg.Ignore(nlmsg.Try(l.nl, remove), unix.EADDRNOTAVAIL), unix.ENXIO)
}

// addressOf is made for each request: the library changes what it is given, and would make
// a broadcast address the second time.
func addressOf(c apply.AddressChange) *netlink.Addr {
	addr := &netlink.Addr{IPNet: nlmsg.IPNet(c.Address.Prefix)}
	if c.Address.Prefix.Addr().Is4() {
		addr.Broadcast = net.IPv4zero // none, as ip-address(8) has it
	}
	if c.Address.Remote.IsValid() { // its length is that of both
		addr.Peer = nlmsg.IPNet(c.Address.Remote)
	}
	return addr
}

// removeIPv4 keeps what the kernel would take along with an address: others of
// the same prefix (__inet_del_ifa, but for promote_secondaries), and with the
// link's last one all its IPv4 routes (fib_disable_ip).
func (l *Links) removeIPv4(link netlink.Link, c apply.AddressChange) (err error) {
	putBack, err := l.sys.PromoteSecondaries(link.Attrs().Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, putBack()) }()
	return l.routes.Keep(link, func() error {
		err := nlmsg.Try(l.nl, func(h *netlink.Handle) error { return h.AddrDel(link, addressOf(c)) })
		return nlmsg.Ignore(err, unix.EADDRNOTAVAIL)
	})
}

// settles is how long the addresses of an interface that asks no neighbours may take: they
// wait for the kernel's worker, and that for others who change interfaces.
const settles = 2 * time.Second

// AwaitAddresses waits until a program can use the IPv6 addresses of an interface. The
// kernel answers that it has one before it has: each is tentative at first, and a worker
// (addrconf_dad_work) finds then that there is no neighbour to ask. Until that a program
// that binds to it, or sends from it, gets EADDRNOTAVAIL. What is missing after all the
// next plan has.
func (l *Links) AwaitAddresses(ctx context.Context, name string) {
	link, err := l.Find(name)
	if err != nil || link == nil || link.Attrs().Flags&net.FlagUp == 0 {
		return
	}
	for end := time.Now().Add(settles); time.Now().Before(end); {
		addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return l.nl.AddrList(link, netlink.FAMILY_V6) })
		if err != nil || !slices.ContainsFunc(addrs, tentative) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// tentative: an address that somebody else has stays so, and is not waited for.
func tentative(a netlink.Addr) bool {
	return a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == unix.IFA_F_TENTATIVE
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

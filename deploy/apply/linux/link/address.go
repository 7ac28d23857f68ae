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

// SetAddress adds an address to a link or removes it. It is no error if it is there, or
// gone, already.
func (l *Links) SetAddress(link netlink.Link, c apply.AddressChange) error {
	switch {
	case c.Add:
		add := func(h *netlink.Handle) error { return h.AddrAdd(link, addressOf(c)) }
		return nlmsg.Ignore(nlmsg.Try(l.nl, add), unix.EEXIST)
	case c.Address.Prefix.Addr().Is4():
		return l.removeIPv4(link, c)
	}
	// The kernel answers ENXIO where the link has no IPv6 at all (inet6_addr_del).
	remove := func(h *netlink.Handle) error { return h.AddrDel(link, addressOf(c)) }
	return nlmsg.Ignore(nlmsg.Ignore(nlmsg.Try(l.nl, remove), unix.EADDRNOTAVAIL), unix.ENXIO)
}

// addressOf returns a new value for each request, because the library changes its argument:
// it would add a broadcast address on the second attempt.
func addressOf(c apply.AddressChange) *netlink.Addr {
	addr := &netlink.Addr{IPNet: nlmsg.IPNet(c.Address.Prefix)}
	if c.Address.Prefix.Addr().Is4() {
		addr.Broadcast = net.IPv4zero // none, which is the default of ip-address(8) too
	}
	if c.Address.Remote.IsValid() { // the length of the remote prefix is that of the address too
		addr.Peer = nlmsg.IPNet(c.Address.Remote)
	}
	return addr
}

// removeIPv4 removes an address without its side effects in the kernel: the secondary
// addresses of the same prefix go too unless promote_secondaries is set (__inet_del_ifa),
// and with the last address all IPv4 routes of the link (fib_disable_ip).
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

// settles is how long addresses may stay tentative on an interface without neighbour
// discovery. They wait for a kernel worker, which waits for the lock of the network
// configuration.
const settles = 2 * time.Second

// AwaitAddresses waits until programs can use the IPv6 addresses of an interface, at most
// for two seconds. The kernel confirms an address before it can be used: each is tentative
// at first, until a worker (addrconf_dad_work) finds that the interface has no neighbour
// discovery. Before that, bind and sendmsg fail with EADDRNOTAVAIL. There is no error: if
// an address is missing after all, the next plan has it.
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

// tentative reports whether an address will become usable soon. A duplicate address stays
// tentative, and is not waited for.
func tentative(a netlink.Addr) bool {
	return a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == unix.IFA_F_TENTATIVE
}

// ObserveAddresses reads the addresses of a link other than link-local ones.
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

package linux

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/port"
	"wgkeys/deploy/apply/linux/sysctl"
	"wgkeys/deploy/tunnel"
)

// observeHurdles looks for what would keep the host from applying the view. It asks the
// kernel whether a thing would work, and reads no configuration files.
func (k *Kernel) observeHurdles(link netlink.Link, s *apply.State, view *tunnel.View) error {
	h := &s.Hurdles
	if os.Geteuid() == 0 {
		h.NoRight = !mayChangeNetwork()
		h.Fixed = k.sys.Fixed(s.Sysctls)
		if link == nil {
			h.NoTunnels = noTunnels()
		}
	}
	h.NoIPv6 = noIPv6(k.sys, view.Tunnel)
	k.observePort(s, view)
	return observeSameAddresses(k.nl, link, s, view)
}

// noTunnels returns why no interface can be made, or "". One takes WireGuard, which the
// kernel loads when its generic netlink family is asked for (genl_ctrl), or a TUN device
// (tun_chr_open).
func noTunnels() string {
	if g, err := nlmsg.OpenGeneric(unix.WG_GENL_NAME); err == nil {
		g.Close()
		return ""
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err == nil {
		f.Close()
		return ""
	}
	why := "this kernel has no WireGuard, and /dev/net/tun for a device in user space"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return why + " is not there"
	case errors.Is(err, fs.ErrPermission):
		return why + " may not be opened"
	}
	return why + " cannot be opened"
}

// noIPv6 returns why the link cannot have IPv6, or "" (inet6_addr_add, ip6_route_add).
func noIPv6(sys *sysctl.Root, name string) string {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return apply.NoIPv6AtAll
	}
	if err == nil {
		unix.Close(fd)
	}
	for _, link := range []string{name, "default"} { // a new link starts with the default
		value, err := sys.Read("net/ipv6/conf/" + link + "/disable_ipv6")
		if err == nil && strings.TrimSpace(value) == "1" {
			return "net.ipv6.conf." + link + ".disable_ipv6 is 1"
		}
		if err == nil {
			return ""
		}
	}
	return ""
}

// observePort looks whether another socket has the listen port of the view. If the device
// has that port already, there is nothing to ask: the kernel binds it when the link comes
// up (wg_open) and closes it when the link goes down.
func (k *Kernel) observePort(s *apply.State, view *tunnel.View) {
	up := s.Link != nil && s.Link.Up
	if view.ListenPort == 0 || up && s.Device.ListenPort == view.ListenPort {
		return
	}
	s.Hurdles.PortOwner, s.PortTaken = port.Owner(k.nl, k.wg, view.ListenPort)
	if s.Hurdles.PortOwner == "tunnel "+view.Tunnel { // in user space: it keeps its old port for a while
		s.PortTaken, s.Hurdles.PortOwner = false, ""
	}
	if other, ok := strings.CutPrefix(s.Hurdles.PortOwner, "tunnel "); ok {
		has := k.wg.ListenPort(other)
		s.Hurdles.PortLeft = has != 0 && has != view.ListenPort
	}
}

// observeSameAddresses finds the view's addresses on other interfaces.
func observeSameAddresses(nl *netlink.Handle, link netlink.Link, s *apply.State, view *tunnel.View) error {
	if len(view.Addresses) == 0 {
		return nil
	}
	wanted := map[netip.Addr]bool{}
	for _, a := range view.Addresses {
		wanted[a.Addr()] = true
	}
	addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	for _, a := range addrs {
		p, ok := nlmsg.Prefix(a.IPNet)
		if !ok || !wanted[p.Addr()] || link != nil && a.LinkIndex == link.Attrs().Index {
			continue
		}
		if l, err := nl.LinkByIndex(a.LinkIndex); err == nil {
			s.Hurdles.Addresses = append(s.Hurdles.Addresses, apply.OtherAddress{Addr: p.Addr(), Link: l.Attrs().Name})
		}
	}
	return nil
}

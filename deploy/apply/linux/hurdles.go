package linux

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/port"
	"wgkeys/deploy/apply/linux/sysctl"
	"wgkeys/deploy/tunnel"
)

// hurdles looks for what would keep the host from applying the view. It asks the kernel whether
// a thing would work, and reads no configuration files.
func (o observation) hurdles(link netlink.Link) error {
	h := &o.s.Hurdles
	if os.Geteuid() == 0 {
		h.NoRight = !mayChangeNetwork()
		h.Fixed = o.k.sys.Fixed(o.s.Sysctls)
		if link == nil {
			h.NoTunnels = noTunnels()
		}
	}
	h.NoIPv6 = noIPv6(o.k.sys, o.view.Tunnel)
	o.port()
	return observeSameAddresses(o.k.nl, link, o.s, o.view)
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

// port looks whether another socket has the listen port of the view. If the device has that
// port already, there is nothing to ask: the kernel binds it when the link comes up (wg_open)
// and closes it when the link goes down.
func (o observation) port() {
	h, wanted := &o.s.Hurdles, o.view.ListenPort
	up := o.s.Link != nil && o.s.Link.Up
	if wanted == 0 || up && o.s.Device.ListenPort == wanted {
		return
	}
	h.PortOwner, o.s.PortTaken = port.Owner(o.k.nl, o.k.wg, wanted)
	if h.PortOwner == "tunnel "+o.view.Tunnel { // in user space: it keeps its old port for a while
		o.s.PortTaken, h.PortOwner = false, ""
	}
	if other, ok := strings.CutPrefix(h.PortOwner, "tunnel "); ok {
		has := o.k.wg.ListenPort(other)
		h.PortLeft = has != 0 && has != wanted
	}
}

// observeSameAddresses finds the view's addresses on other interfaces, and those of its peers
// that this host has itself.
func observeSameAddresses(nl *netlink.Handle, link netlink.Link, s *apply.State, view *tunnel.View) error {
	addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	others := make(map[netip.Addr]int, len(addrs)) // the interface
	for _, a := range addrs {
		if p, ok := nlmsg.Prefix(a.IPNet); ok && (link == nil || a.LinkIndex != link.Attrs().Index) {
			others[p.Addr()] = a.LinkIndex
		}
	}
	has := func(p netip.Prefix) (o apply.OtherAddress, found bool) {
		index, found := others[p.Addr()]
		if found {
			l, err := nl.LinkByIndex(index)
			if found = err == nil; found {
				o = apply.OtherAddress{Addr: p.Addr(), Link: l.Attrs().Name}
			}
		}
		return o, found
	}
	for _, a := range view.Addresses {
		if o, found := has(a); found {
			s.Hurdles.Addresses = append(s.Hurdles.Addresses, o)
		}
	}
	for i := range view.Routes {
		if r := &view.Routes[i]; r.Prefix.IsSingleIP() && !slices.Contains(view.Addresses, r.Prefix) {
			if o, found := has(r.Prefix); found {
				o.Peer = r.Peer
				s.Hurdles.Peers = append(s.Hurdles.Peers, o)
			}
		}
	}
	return nil
}

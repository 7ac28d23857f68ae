package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/tunnel"
)

// observeHurdles looks for what the host has in the way of the view. What is asked
// here is asked of the kernel: whether it would do a thing, not whether some file
// says that it would.
func (k *Kernel) observeHurdles(link netlink.Link, s *apply.State, view *tunnel.View) error {
	h := &s.Hurdles
	if os.Geteuid() == 0 {
		h.NoRight = !mayChangeNetwork()
		h.Fixed = k.sys.Fixed(s.Sysctls)
		if link == nil {
			h.NoTunnels = noTunnels()
		}
	}
	h.NoIPv6 = k.noIPv6(view.Tunnel)
	k.observePort(s, view)
	return k.observeSameAddresses(link, s, view)
}

// noTunnels says why no interface can be made: neither WireGuard, which the kernel
// loads when it is asked for its family (genl_ctrl), nor a TUN device (tun_chr_open).
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

// noIPv6 says why the link can have no IPv6 (inet6_addr_add, ip6_route_add).
func (k *Kernel) noIPv6(name string) string {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return apply.NoIPv6AtAll
	}
	if err == nil {
		unix.Close(fd)
	}
	for _, link := range []string{name, "default"} { // a new link takes it over
		value, err := k.sys.Read("net/ipv6/conf/" + link + "/disable_ipv6")
		if err == nil && strings.TrimSpace(value) == "1" {
			return "net.ipv6.conf." + link + ".disable_ipv6 is 1"
		}
		if err == nil {
			return ""
		}
	}
	return ""
}

// observePort looks whether somebody has the port that the device is to have. One
// that it has already is its own: the kernel opens the port when the link comes up
// (wg_open), and lets go of it when it goes down.
func (k *Kernel) observePort(s *apply.State, view *tunnel.View) {
	up := s.Link != nil && s.Link.Up
	if view.ListenPort == 0 || up && s.Device.ListenPort == view.ListenPort {
		return
	}
	s.Hurdles.PortOwner, s.PortTaken = k.whoHas(view.ListenPort)
	if s.Hurdles.PortOwner == "tunnel "+view.Tunnel { // in user space: it keeps its old port for a while
		s.PortTaken, s.Hurdles.PortOwner = false, ""
	}
}

// whoHas returns who has the port, "" for somebody unknown. A socket that nobody has
// open may be on its way out: a process that closes one loses it first, and the kernel
// lets go of the port later (fput, udp_lib_unhash). So nobody is asked for again.
func (k *Kernel) whoHas(port int) (owner string, taken bool) {
	for range 10 {
		sockets := socketsOf(port)
		if len(sockets) == 0 {
			return "", false
		}
		if owner = k.ownerOf(sockets, port); owner != "" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return owner, true
}

// socketsOf returns the inodes of the UDP sockets that have the port: of any address,
// for the device wants it for all of them.
func socketsOf(port int) []string {
	var inodes []string
	for _, file := range []string{"udp", "udp6"} {
		text, _ := os.ReadFile("/proc/thread-self/net/" + file) // no such family, no socket
		for line := range strings.Lines(string(text)) {
			// "  sl  local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid
			// timeout inode ...", "12: 00000000:7767 ..." (proc_pid_net(5))
			if f := strings.Fields(line); len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				inodes = append(inodes, f[9])
			}
		}
	}
	return inodes
}

// ownerOf names who has a port: a tunnel, or a process. The kernel's own sockets have
// none, and of processes in another container nothing is known.
func (k *Kernel) ownerOf(inodes []string, port int) string {
	if pid := holderOf(inodes); pid != "" {
		return processName(pid)
	}
	links, err := nlmsg.Retry(k.nl.LinkList)
	if err != nil {
		return ""
	}
	for _, l := range links {
		if kindOf(l) != "wireguard" {
			continue
		}
		if name := l.Attrs().Name; k.wg.ListenPort(name) == port {
			return "tunnel " + name
		}
	}
	return ""
}

// holderOf returns the process that has one of the sockets open.
func holderOf(inodes []string) (pid string) {
	wanted := map[string]bool{}
	for _, i := range inodes {
		wanted["socket:["+i+"]"] = true
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is a good one
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && wanted[target] {
			return strings.Split(file, "/")[2]
		}
	}
	return ""
}

// processName names a process: a tunnel's device in user space by the tunnel.
func processName(pid string) string {
	text, _ := os.ReadFile("/proc/" + pid + "/cmdline")
	args := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	last := args[len(args)-1]
	for _, name := range []string{last, args[min(1, len(args)-1)]} {
		if _, err := os.Stat(device.Socket(name)); err == nil && tunnel.CheckName(name) == nil {
			return "tunnel " + name
		}
	}
	name, _ := os.ReadFile("/proc/" + pid + "/comm")
	return strings.TrimSpace(string(name)) + " (process " + pid + ")"
}

// observeSameAddresses looks for the view's addresses on other interfaces.
func (k *Kernel) observeSameAddresses(link netlink.Link, s *apply.State, view *tunnel.View) error {
	if len(view.Addresses) == 0 {
		return nil
	}
	wanted := map[netip.Addr]bool{}
	for _, a := range view.Addresses {
		wanted[a.Addr()] = true
	}
	addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return k.nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	for _, a := range addrs {
		p, ok := nlmsg.Prefix(a.IPNet)
		if !ok || !wanted[p.Addr()] || link != nil && a.LinkIndex == link.Attrs().Index {
			continue
		}
		if l, err := k.nl.LinkByIndex(a.LinkIndex); err == nil {
			s.Hurdles.Addresses = append(s.Hurdles.Addresses, apply.OtherAddress{Addr: p.Addr(), Link: l.Attrs().Name})
		}
	}
	return nil
}

// A besides collects the routes of others while those of the link are read: nil
// collects nothing.
type besides struct {
	k        *Kernel
	table    int
	prefixes map[netip.Prefix]bool
	lengths  [2][129]bool // of the prefixes, by family
	links    map[int]netlink.Link

	found  []apply.OtherRoute // of the family that is being read
	digest uint64
}

// begin is called before a family is read, or read once more.
func (b *besides) begin() {
	if b != nil {
		b.found, b.digest = nil, 0
	}
}

func (b *besides) end(h *apply.Hurdles) {
	if b != nil {
		h.Routes, h.Digest = append(h.Routes, b.found...), h.Digest+b.digest
	}
}

func (k *Kernel) newBesides(view *tunnel.View) *besides {
	b := &besides{k: k, table: view.Table, prefixes: make(map[netip.Prefix]bool, len(view.Routes)), links: map[int]netlink.Link{}}
	if b.table == unix.RT_TABLE_MAIN {
		b.table = 0
	}
	add := func(p netip.Prefix) {
		b.prefixes[p] = true
		b.lengths[familyIndex(p.Addr())][p.Bits()] = true
	}
	for i := range view.Routes {
		add(view.Routes[i].Prefix)
	}
	for _, a := range view.Addresses {
		if !a.IsSingleIP() {
			add(a.Masked())
		}
	}
	return b
}

func familyIndex(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// add looks at a route of another interface, or of none.
func (b *besides) add(msg *nl.RtMsg, r apply.Route, oif int) {
	if b == nil || r.Table != b.table {
		return
	}
	switch msg.Type {
	case unix.RTN_UNICAST, unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT, unix.RTN_THROW:
	default:
		return
	}
	b.digest += digestOfRoute(msg, r, oif)
	if !b.concerns(r.Prefix) {
		return
	}
	o := apply.OtherRoute{Route: r}
	switch msg.Protocol {
	case unix.RTPROT_KERNEL, unix.RTPROT_RA, unix.RTPROT_DHCP, unix.RTPROT_REDIRECT:
		o.Origin = apply.Network
	}
	if msg.Type == unix.RTN_UNICAST {
		o.Link, o.Tunnel = b.name(oif)
	}
	b.found = append(b.found, o)
}

// concerns reports whether prefix is one of the view's, or a part of one.
func (b *besides) concerns(prefix netip.Prefix) bool {
	for bits := range prefix.Bits() + 1 {
		if !b.lengths[familyIndex(prefix.Addr())][bits] {
			continue
		}
		if outer, err := prefix.Addr().Prefix(bits); err == nil && b.prefixes[outer] {
			return true
		}
	}
	return false
}

func (b *besides) name(oif int) (name string, isTunnel bool) {
	if oif == 0 {
		return "several interfaces", false
	}
	link := b.links[oif]
	if link == nil {
		var err error
		if link, err = b.k.nl.LinkByIndex(oif); err != nil {
			return "another interface", false
		}
		b.links[oif] = link
	}
	name = link.Attrs().Name
	_, err := os.Stat(device.Socket(name))
	return name, kindOf(link) == "wireguard" || err == nil
}

// digestOfRoute is a hash of a route (FNV-1a). The sum of those of many does not
// depend on their order.
func digestOfRoute(msg *nl.RtMsg, r apply.Route, oif int) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	addr := r.Prefix.Addr().As16()
	for _, c := range addr {
		h = (h ^ uint64(c)) * prime
	}
	for _, n := range []int{r.Prefix.Bits(), r.Metric, r.Table, oif, int(msg.Type), int(msg.Protocol)} {
		h = (h ^ uint64(n)) * prime
	}
	return h
}

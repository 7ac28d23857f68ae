package ifupdown

import (
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// defaultMTU is the MTU of a new WireGuard interface: ETH_DATA_LEN less the largest header
// (wg_setup in Linux's drivers/net/wireguard/device.c).
const defaultMTU = 1420

// devices returns the WireGuard interfaces that the stanzas describe.
func (c *config) devices() (list []*foreign.Device) {
	c.index()
	missing := c.missing()
	for _, first := range c.stanzas {
		stanzas := c.byName[first.name]
		if len(stanzas) == 0 || stanzas[0] != first || first.template ||
			!slices.ContainsFunc(stanzas, (*stanza).isWireGuard) || c.abstract(stanzas) {
			continue
		}
		b := &builder{config: c, d: &foreign.Device{Name: first.name, Pos: first.at, Manual: true}}
		b.groups()
		for _, s := range stanzas {
			s.index()
			b.d.Comment = append(b.d.Comment, s.comments...)
			b.stanza(s)
		}
		if b.policy {
			b.d.EndPolicy()
		}
		for _, in := range missing {
			b.left(in.at, "source", "the files that it names may say more of this interface: give them too")
		}
		list = append(list, b.d)
	}
	return list
}

// abstract reports whether the stanzas of a name are there for others to inherit from: one
// does, no line such as auto names them, and they have no address of their own.
func (c *config) abstract(stanzas []*stanza) bool {
	addressed := func(s *stanza) bool {
		return slices.ContainsFunc(s.options, func(o option) bool {
			return o.key == "address" || isHook(o.key) && strings.Contains(o.value, " addr")
		})
	}
	inherited := slices.ContainsFunc(stanzas, func(s *stanza) bool { return s.inherited })
	return inherited && len(c.named[stanzas[0].name]) == 0 && !slices.ContainsFunc(stanzas, addressed)
}

// isWireGuard reports whether a stanza makes a WireGuard interface of its name.
func (s *stanza) isWireGuard() bool {
	return slices.ContainsFunc(s.options, func(o option) bool {
		switch {
		case o.key == "wireguard-config-path", o.key == "use" && strings.HasPrefix(o.value, "wireguard"):
			return true
		case !isHook(o.key):
			return false
		}
		w := strings.FieldsFunc(o.value, func(r rune) bool { return strings.ContainsRune(" \t;&|()\"'", r) })
		about := slices.ContainsFunc(w, func(s2 string) bool {
			return s2 == "$IFACE" || s2 == "${IFACE}" || s2 == s.name || path.Base(s2) == s.name+".conf"
		})
		program := slices.ContainsFunc(w, func(s string) bool {
			return slices.Contains([]string{"wireguard", "wg", "wg-quick", "wireguard-go", "boringtun", "boringtun-cli"},
				path.Base(s))
		})
		return about && program
	})
}

// A builder makes a device of the stanzas with its name.
type builder struct {
	*config
	d      *foreign.Device
	policy bool // rules keep the encrypted packets out of the tunnel
}

func (b *builder) left(at foreign.Pos, what, why string) {
	b.d.Left = append(b.d.Left, foreign.Left{Pos: at, What: what, Why: why})
}

// groups reads the lines outside of stanzas that name the interface.
func (b *builder) groups() {
	for _, n := range b.named[b.d.Name] {
		b.group(n)
	}
	for _, n := range b.patterns {
		if matches(n.physical, b.d.Name) {
			b.group(n)
		}
	}
}

func (b *builder) group(n named) {
	g := n.group
	switch {
	case n.physical != b.d.Name || n.logical != "":
		b.left(g.at, g.word, "a tunnel file names the interface itself: it has no patterns and no other names")
	case g.word == "auto" || g.word == "allow-auto":
		b.d.Manual = false
		b.d.Comment = append(b.d.Comment, g.comments...)
	case g.word == "allow-hotplug":
		b.left(g.at, g.word, "nothing plugs this interface in: it is made when it is brought up, at boot by auto "+
			b.d.Name)
	default:
		b.left(g.at, g.word, "it is ifupdown's alone")
	}
}

// matches reports whether a pattern of interfaces(5), "/wg*" or that of a mapping, matches
// the name.
func matches(pattern, name string) bool {
	p, _, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	ok, err := path.Match(p, name)
	return ok && err == nil
}

// stanza reads a stanza in the order in which ifup runs it: the commands before, the
// method, the commands after. The commands of ifdown come last.
func (b *builder) stanza(s *stanza) {
	b.hooks(s, "pre-up")
	b.executors(s)
	b.method(s)
	for _, o := range s.options {
		if !isHook(o.key) {
			b.option(s, o)
		}
	}
	b.hooks(s, "up")
	b.hooks(s, "down")
	b.hooks(s, "post-down")
}

// hooks reads the commands of one kind.
func (b *builder) hooks(s *stanza, kind string) {
	for _, o := range s.options {
		switch {
		case hookKeys[o.key] != kind:
		case wgQuick(o.value):
			if kind == "pre-up" || kind == "up" {
				b.byQuick(o, s)
			}
		default:
			b.command(o, s)
		}
	}
}

// byQuick refuses a stanza whose interface wg-quick makes. Its file has all of it but what the
// stanza adds.
func (b *builder) byQuick(o option, s *stanza) {
	why := "wg-quick makes this interface, from a file of its own"
	if a := s.all("address"); len(a) > 0 && s.method != "manual" {
		why += ", and the stanza adds an address: write it into that file first, as Address ="
	}
	file := "/etc/wireguard/" + b.d.Name + ".conf"
	if w := strings.Fields(o.value); len(w) == 3 && strings.HasPrefix(w[2], "/") && !strings.ContainsAny(w[2], "$'\"") {
		file = w[2]
	}
	b.Wrong(o.at, "wgkeys import "+file, "%s", why)
}

func (b *builder) command(o option, s *stanza) {
	says, ok := written(o.value)
	if !ok {
		b.d.Hook(o.at, o.key, s.expand(o.value))
		return
	}
	b.d.Proxies = append(b.d.Proxies, says.proxies...)
	b.policy = b.policy || says.policy
}

// executors reads ifupdown-ng's option "use". Its executor "wireguard" loads a file
// (executor-scripts/linux/wireguard).
func (b *builder) executors(s *stanza) {
	for _, o := range s.all("wireguard-config-path") {
		if !strings.HasPrefix(o.value, "/") {
			b.Wrong(o.at, "", "wireguard-config-path: it is not an absolute path")
		}
		b.d.Conf = o.value
	}
	for _, o := range s.all("use") {
		for _, executor := range strings.Fields(o.value) {
			switch executor {
			case "wireguard":
				if b.d.Conf == "" {
					b.d.Conf = "/etc/wireguard/" + b.d.Name + ".conf"
				}
			case "wireguard-quick", "wg-quick":
				b.Wrong(o.at, "wgkeys import /etc/wireguard/"+b.d.Name+".conf",
					"wg-quick makes this interface, from a file of its own")
			case "static", "link", "forward", "ethtool":
			default:
				b.left(o.at, "use "+executor, nothingOfIt)
			}
		}
	}
}

// method reads the options that belong to the stanza's method.
func (b *builder) method(s *stanza) {
	addresses := s.all("address")
	switch {
	case s.family == "" && s.method == "": // ifupdown-ng looks at the options instead
	case s.family != "inet" && s.family != "inet6":
		b.left(s.at, "iface "+s.name, "the tunnel carries IPv4 and IPv6, and no other family")
		return
	case s.method == "static":
		if len(addresses) == 0 {
			b.Wrong(s.at, "address ADDRESS/LENGTH", "the method static needs an address: ifup refuses a stanza without")
		}
	case s.method == "manual":
		for _, o := range s.all(methodKeys...) {
			if !s.used[variable(o.key)] {
				b.left(o.at, o.key, "ifup does not look at it with the method manual")
			}
		}
		return
	case slices.Contains([]string{"auto", "dhcp", "tunnel", "ppp", "loopback", "bootp", "wvdial", "ipv4ll", "v4tunnel",
		"6to4"}, s.method):
		b.left(s.at, "iface "+s.name, "the method "+s.method+" does nothing in a WireGuard tunnel that it could say")
		return
	default:
		b.Wrong(s.at, "iface "+s.name+" "+s.family+" static", "ifupdown has no method %s of %s", foreign.Shown(s.method),
			s.family)
		return
	}
	b.twice(s)
	r := &reader{Reader: b.Reader, ng: b.ng}
	b.d.Addresses = append(b.d.Addresses, r.addresses(s, addresses)...)
	for _, g := range r.gateways(s) {
		b.d.Routes = append(b.d.Routes, g)
		if why := g.BesideOthers(); why != "" {
			b.left(g.Pos, "gateway", why)
		}
	}
	b.d.Left = append(b.d.Left, r.left...)
}

// twice refuses options whose repetition makes one broken value: ifupdown appends the
// second after a newline (config.c).
func (b *builder) twice(s *stanza) {
	for _, key := range []string{"netmask", "gateway", "mtu", "metric", "pointopoint", "accept_ra", "autoconf",
		"privext"} {
		if all := s.all(key); len(all) > 1 && !b.ng {
			b.Wrong(all[1].at, "", "%s stands twice in a stanza, of which ifup makes one value", key)
		}
	}
}

// methodKeys are the options that only the method static reads.
var methodKeys = []string{"address", "netmask", "gateway", "pointopoint", "point-to-point", "metric", "broadcast",
	"scope", "preferred-lifetime"}

// reasons says why a tunnel file has nothing for an option.
var reasons = map[string]string{
	"preferred-lifetime": "an address of a tunnel is preferred for good",
	"hwaddress":          "a WireGuard interface has no link-layer address",
	"requires":           nothingOfIt,
	"forward-ipv4-mc":    nothingOfIt,
	"forward-ipv6-mc":    nothingOfIt,
	"link-type":          nothingOfIt,
	"vrf-member":         nothingOfIt,
}

const nothingOfIt = "a tunnel file says nothing of it"

// option reads one of the other options of a stanza.
func (b *builder) option(s *stanza, o option) {
	d := b.d
	switch o.key {
	case "address", "netmask", "gateway", "pointopoint", "point-to-point", "metric", "wireguard-config-path", "use":
		// read already
	case "mtu":
		b.mtu(s, o)
	case "description", "alias":
		b.description(o)
	case "dns-nameservers", "dns-nameserver", "dns-search", "dns-domain":
		d.DNS = append(d.DNS, strings.Fields(o.value)...)
	case "broadcast", "media", "dad-attempts", "dad-interval", "ll-attempts", "ll-interval", "netnum":
		// A WireGuard interface has no broadcast, and because it is IFF_NOARP (wg_setup) no
		// duplicate address detection (addrconf_dad_begin).
	case "accept_ra", "autoconf":
		b.advertisements(o)
	case "privext":
		b.sysctl("net.ipv6.conf."+d.Name+".use_tempaddr", o)
	case "scope":
		if o.value != "global" {
			b.left(o.at, o.key, "an address of a tunnel is global")
		}
	case "forward-ipv4", "forward-ipv6":
		d.Forward = d.Forward || o.value == "yes" || o.value == "1"
	default:
		b.other(s, o)
	}
}

func (b *builder) description(o option) {
	if _, ok := foreign.Comment(o.value); !ok {
		b.left(o.at, o.key, "it may hold a key")
		return
	}
	b.d.Description = o.value
}

// packages are the prefixes of options that are read by other packages than ifupdown
// (interfaces(5), "OPTIONS PROVIDED BY OTHER PACKAGES").
var packages = []string{"bond", "bridge", "ethernet", "ethtool", "link", "multi", "offload", "openvpn", "ovs",
	"tunnel", "batman", "vlan", "vrf", "vxlan", "wireless", "wpa", "arping", "shorewall", "ucarp", "udev", "gre"}

// known are the options that this package understands, for the hint about a misspelled one.
var known = []string{"address", "netmask", "gateway", "pointopoint", "point-to-point", "metric", "mtu", "description",
	"alias", "dns-nameservers", "dns-search", "dns-domain", "broadcast", "media", "dad-attempts", "dad-interval",
	"accept_ra", "autoconf", "privext", "scope", "preferred-lifetime", "hwaddress", "forward-ipv4", "forward-ipv6",
	"requires", "use", "inherit", "wireguard-config-path", "pre-up", "up", "post-up", "down", "pre-down", "post-down"}

// other reads options that a tunnel file has nothing for.
func (b *builder) other(s *stanza, o option) {
	if why := reasons[o.key]; why != "" {
		b.left(o.at, o.key, why)
		return
	}
	if i := strings.IndexAny(o.key, "-_"); i > 0 && slices.Contains(packages, o.key[:i]) {
		b.left(o.at, o.key, "it is an option of another program")
		return
	}
	if s.used[variable(o.key)] && strings.Trim(o.key, "abcdefghijklmnopqrstuvwxyz0123456789-_") == "" {
		return // an option of the user's own, whose value is in the commands already
	}
	b.Unknown(o.at, "iface "+s.name, o.key, known)
}

// advertisements checks accept_ra and autoconf, which ifupdown writes to sysctls of the
// interface. They need no place in a tunnel file, because no router sends advertisements
// into a tunnel.
func (b *builder) advertisements(o option) {
	if n, err := strconv.Atoi(o.value); err != nil || n < 0 || n > 2 {
		b.Wrong(o.at, "", "%s: %s is not 0, 1 or 2", o.key, foreign.Shown(o.value))
	}
}

func (b *builder) sysctl(key string, o option) {
	if b.d.Sysctls == nil {
		b.d.Sysctls = map[string]string{}
	}
	b.d.Sysctls[key] = strconv.Itoa(b.Number(o.at, o.key, o.value, 0, math.MaxInt32))
}

// mtu reads an MTU. In a stanza of inet6 ifupdown sets the MTU of IPv6 alone if it is less
// than the link's, and otherwise that of the link (inet6.defn).
func (b *builder) mtu(s *stanza, o option) {
	n := b.Number(o.at, "mtu", o.value, 68, math.MaxUint16)
	now := b.d.MTU
	if now == 0 {
		now = defaultMTU
	}
	if s.family == "inet6" && n < now {
		b.sysctl("net.ipv6.conf."+b.d.Name+".mtu", o)
		return
	}
	b.d.MTU = n
}

package foreign

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ip reads a command of ip(8).
func (h *hook) ip(args []string) (string, bool) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		option := strings.TrimLeft(args[0], "-")
		args = args[1:]
		switch option {
		case "6":
			h.six = true
		case "f", "family":
			if len(args) == 0 {
				return runsNone, false
			}
			h.six, args = args[0] == "inet6", args[1:]
		case "n", "netns":
			return "it is about another network namespace", false
		}
	}
	if len(args) < 2 {
		return runsNone, false
	}
	object, verb, rest := args[0], args[1], args[2:]
	switch {
	case is(object, "link"):
		return h.link(verb, rest)
	case is(object, "address"):
		return h.address(verb, rest)
	case is(object, "route"):
		return h.route(verb, rest)
	case is(object, "neighbour") || is(object, "neighbor"):
		return h.neighbour(verb, rest)
	case is(object, "rule"):
		return h.d.takeRule(h.left, h.down, h.six, verb, rest)
	}
	return runsNone, false
}

// is reports whether word is an abbreviation that ip(8) accepts for full.
func is(word, full string) bool { return len(word) > 0 && strings.HasPrefix(full, word) }

// link reads `ip link add` and `ip link set`, and what undoes them. Each argument that it does
// not read changes the interface, such as its namespace and its master.
func (h *hook) link(verb string, args []string) (string, bool) {
	switch {
	case slices.Contains([]string{"show", "sh", "list", "lst", "ls"}, verb):
		return "", true // it only asks
	case !slices.Contains([]string{"add", "a", "set", "s", "del", "delete", "d"}, verb):
		return runsNone, false
	case !slices.Contains(args, self):
		return "it is about another interface", false
	}
	return h.linkOptions(args)
}

// linkOptions reads the arguments of `ip link add` and `ip link set`.
func (h *hook) linkOptions(args []string) (string, bool) {
	for i := 0; i < len(args); i++ {
		value := ""
		if i+1 < len(args) {
			value = args[i+1]
		}
		switch name := args[i]; name {
		case self, "dev", "name", "up", "down":
			continue
		case "mtu":
			n, err := strconv.Atoi(value)
			if err != nil {
				return "its MTU is not a number", false
			}
			h.d.MTU = n
			h.d.Mark(name, h.at)
		case "alias":
			if _, ok := Comment(value); !ok {
				return "the alias may hold a key", false
			}
			h.d.Description = value
		case "type":
			if value != "wireguard" {
				return "it makes another kind of interface", false
			}
		case "txqueuelen", "qlen", "multicast", "allmulticast", "promisc", "arp":
			// It has no queue of its own (IFF_NO_QUEUE) and no link layer (IFF_NOARP; wg_setup).
		default:
			return "its " + name + " cannot be said", false
		}
		i++
	}
	return "", true
}

func (h *hook) address(verb string, args []string) (string, bool) {
	at := slices.Index(args, "dev")
	if at < 0 || at+1 >= len(args) || args[at+1] != self {
		return "it is about another interface", false
	}
	switch verb {
	case "del", "delete", "d":
		return "", h.down
	case "add", "a", "replace":
	default:
		return runsNone, false
	}
	a, why := readAddress(args)
	if why != "" {
		return why, false
	}
	a.Pos = h.at
	h.d.Addresses = append(h.d.Addresses, a)
	return "", true
}

// addressWords are the arguments of ip-address(8) that are followed by a value, and those
// that are not, with whether a tunnel file has nothing for them. A WireGuard interface does
// not broadcast, and has no duplicate address detection.
var addressWords = map[string]struct{ value, unsayable bool }{
	"dev": {value: true}, "brd": {value: true}, "broadcast": {value: true}, "peer": {value: true}, "scope": {value: true},
	"local": {}, "nodad": {}, "noprefixroute": {},
	"label": {unsayable: true}, "metric": {unsayable: true}, "valid_lft": {unsayable: true},
	"preferred_lft": {unsayable: true}, "proto": {unsayable: true}, "anycast": {unsayable: true},
}

// readAddress reads the arguments of `ip address add`.
func readAddress(args []string) (a Address, why string) {
	bare, scope := false, "global"
	for i := 0; i < len(args); i++ {
		name, value := args[i], ""
		word, known := addressWords[name]
		if word.value && i+1 < len(args) {
			i++
			value = args[i]
		}
		switch {
		case word.unsayable:
			return a, "its " + name + " cannot be said"
		case name == "scope":
			scope = value
		case name == "peer":
			a.Remote = prefix(value)
		case !known:
			a.Local = prefix(name)
		}
		bare = bare || name == "noprefixroute"
	}
	switch {
	case !a.Local.IsValid():
		return a, "its address cannot be read"
	case a.Local.Addr().Is4() && scope != "global": // that of IPv6 follows from the address (inet6_addr_add)
		return a, "its scope cannot be said"
	case bare && !a.Local.IsSingleIP():
		return a, "the kernel makes a route to the network of an address"
	}
	return a, ""
}

// prefix parses a prefix or a single address; an invalid one is the zero Prefix. In the place of
// the length ip(8) and iptables(8) take a netmask.
func prefix(s string) netip.Prefix {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen())
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p
	}
	text, mask, _ := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(text)
	octets := net.ParseIP(mask).To4()
	if bits, size := net.IPMask(octets).Size(); err == nil && addr.Is4() && size == addr.BitLen() {
		return netip.PrefixFrom(addr, bits)
	}
	return netip.Prefix{}
}

func (h *hook) route(verb string, args []string) (string, bool) {
	if verb == "del" || verb == "delete" || verb == "d" {
		return "it is about another interface", h.down && h.undoes(args)
	}
	if !slices.Contains([]string{"add", "a", "replace", "append"}, verb) || len(args) == 0 {
		return runsNone, false
	}
	to, args := destination(args)
	r, why := h.routeTo(to)
	if why != "" {
		return why, false
	}
	dev, why := r.options(args)
	if why == "" && dev != self {
		why = h.d.elsewhere(dev, r.Gateway)
	}
	if why != "" {
		return why, false
	}
	if to == "default" && r.Gateway.Is6() {
		r.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if r.Source.Addr.IsValid() {
		r.Source.Left = h.left
		r.Source.Left.Why = "its src cannot be said"
	}
	h.d.Routes = append(h.d.Routes, r)
	h.besideOthers(r)
	return "", true
}

// undoes reports whether the arguments of `ip route del` are about a route into this interface: they
// name it, or the next hop is in its network, or a route to the same destination was read.
func (h *hook) undoes(args []string) bool {
	if slices.Contains(args, self) {
		return true
	}
	to, args := destination(args)
	r, why := h.routeTo(to)
	dev, unread := r.options(args)
	if why != "" || unread != "" || dev != "" {
		return false
	}
	same := func(o Route) bool { return o.Prefix == r.Prefix && !r.Gateway.IsValid() }
	return r.Gateway.IsValid() && h.d.elsewhere("", r.Gateway) == "" || slices.ContainsFunc(h.d.Routes, same)
}

// elsewhere returns why a route of another interface, or of none, does not lead into this one,
// or "". Without one the kernel takes the interface in whose network the next hop is
// (fib_check_nh, ip6_route_check_nh).
func (d *Device) elsewhere(dev string, gateway netip.Addr) (why string) {
	near := func(a Address) bool {
		return a.Local.Masked().Contains(gateway) || a.Remote.IsValid() && a.Remote.Contains(gateway)
	}
	switch {
	case dev == "" && d.owns(gateway):
		return "its next hop is the interface's own address, which the kernel refuses"
	case dev != "" || !slices.ContainsFunc(d.Addresses, near):
		return "it is a route of another interface"
	}
	return ""
}

// owns reports whether the interface has the address.
func (d *Device) owns(addr netip.Addr) bool {
	return slices.ContainsFunc(d.Addresses, func(a Address) bool { return a.Local.Addr() == addr })
}

// destination returns the destination of a route and the other arguments, which may stand
// before it.
func destination(args []string) (to string, others []string) {
	for i := 0; i < len(args); i += 2 {
		switch {
		case args[i] == "onlink":
			i--
		case args[i] == "to" && i+1 < len(args):
			return args[i+1], slices.Concat(args[:i], args[i+2:])
		case args[i] == "default" || prefix(args[i]).IsValid():
			return args[i], slices.Concat(args[:i], args[i+1:])
		}
	}
	return "", args
}

// besideOthers reports a default route of IPv4. One of IPv6 stays as it is, because beside
// IPv4 endpoints the tunnel's own is in the main table too.
func (h *hook) besideOthers(r Route) {
	if why := r.BesideOthers(); why != "" {
		h.left.Why = why
		h.d.Left = append(h.d.Left, h.left)
	}
}

// routeTo returns a route for the prefix argument of ip-route(8).
func (h *hook) routeTo(to string) (r Route, why string) {
	r.Pos = h.at
	switch {
	case to == "default" && h.six:
		r.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	case to == "default":
		r.Prefix = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	default:
		if r.Prefix = prefix(to).Masked(); !r.Prefix.IsValid() {
			return r, "its prefix cannot be read"
		}
	}
	return r, ""
}

// options reads the arguments after the prefix.
func (r *Route) options(args []string) (dev, why string) {
	onlink := slices.Contains(args, "onlink")
	for len(args) > 0 {
		if args[0] == "onlink" {
			args = args[1:]
			continue
		}
		if len(args) < 2 {
			return dev, "its " + args[0] + " cannot be read"
		}
		name, value := args[0], args[1]
		var err error
		switch name {
		case "dev":
			dev = value
		case "via":
			if r.Gateway, err = netip.ParseAddr(value); r.Gateway.IsUnspecified() {
				if onlink || r.Gateway.Is6() {
					return dev, "the kernel takes no next hop " + value
				}
				r.Gateway = netip.Addr{} // 0.0.0.0 is none (rtm_to_fib_config)
			}
		case "table":
			if value != "main" {
				r.Table, err = strconv.Atoi(value)
			}
		case "metric", "preference":
			r.Metric, err = strconv.Atoi(value)
		case "src":
			r.Source.Addr, err = netip.ParseAddr(value)
		case "proto", "scope":
		default:
			return dev, "its " + name + " cannot be said"
		}
		if err != nil {
			return dev, "its " + name + " cannot be read"
		}
		args = args[2:]
	}
	return dev, ""
}

// neighbour reads `ip -6 neigh add proxy ADDRESS dev UPLINK`.
func (h *hook) neighbour(verb string, args []string) (string, bool) {
	if len(args) < 2 || args[0] != "proxy" {
		return runsNone, false
	}
	addr, err := netip.ParseAddr(args[1])
	switch {
	case err != nil:
		return "its address cannot be read", false
	case addr.Is4():
		return "ndp_proxy is for IPv6; sysctls can have net.ipv4.conf.UPLINK.proxy_arp", false
	}
	if !h.down && (is(verb, "add") || verb == "replace") {
		h.d.Proxies = append(h.d.Proxies, addr)
	}
	return "", true
}

package foreign

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ip reads a command of ip(8).
func (h *hook) ip(args []string) (string, bool) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		h.six = h.six || args[0] == "-6"
		args = args[1:]
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
		return "policy routing: a default route of the tunnel has rules of its own, and table names another one", false
	}
	return runsNone, false
}

// is reports whether word is an abbreviation that ip(8) accepts for full.
func is(word, full string) bool { return len(word) > 0 && strings.HasPrefix(full, word) }

func (h *hook) link(verb string, args []string) (string, bool) {
	if !slices.Contains(args, self) {
		return "it is about another interface", false
	}
	for i, a := range args {
		if a == "mtu" && i+1 < len(args) {
			n, err := strconv.Atoi(args[i+1])
			if err != nil {
				return "its MTU is no number", false
			}
			h.d.MTU = n
			h.d.Mark(a, h.at)
		}
	}
	if i := slices.Index(args, "alias"); i >= 0 && i+1 < len(args) {
		if _, ok := Comment(args[i+1]); !ok {
			return "the alias may hold a key", false
		}
		h.d.Description = args[i+1]
	}
	if slices.Contains(args, "type") && !slices.Contains(args, "wireguard") {
		return "it makes another kind of interface", false
	}
	return "", slices.Contains([]string{"add", "a", "set", "s", "del", "delete", "d"}, verb)
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
	a := Address{Pos: h.at}
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "dev":
			i++
		case "peer":
			i++
			if i < len(args) {
				a.Remote = prefix(args[i])
			}
		case "local", "noprefixroute", "nodad":
		default:
			if a.Local = prefix(args[i]); !a.Local.IsValid() {
				return "its address cannot be read", false
			}
		}
	}
	if !a.Local.IsValid() {
		return "its address cannot be read", false
	}
	h.d.Addresses = append(h.d.Addresses, a)
	return "", true
}

// prefix parses a prefix or a single address; an invalid one is the zero Prefix.
func prefix(s string) netip.Prefix {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen())
	}
	p, _ := netip.ParsePrefix(s)
	return p
}

func (h *hook) route(verb string, args []string) (string, bool) {
	if verb == "del" || verb == "delete" || verb == "d" {
		return "it is about another interface", h.down && slices.Contains(args, self)
	}
	if verb != "add" && verb != "a" && verb != "replace" && verb != "append" || len(args) == 0 {
		return runsNone, false
	}
	r, why := h.routeTo(args[0])
	if why != "" {
		return why, false
	}
	dev, why := r.options(args[1:])
	switch {
	case why != "":
		return why, false
	case dev != self:
		return "it is a route of another interface", false
	case args[0] == "default" && r.Gateway.Is6():
		r.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	h.d.Routes = append(h.d.Routes, r)
	return "", true
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
			r.Gateway, err = netip.ParseAddr(value)
		case "table":
			r.Table, err = strconv.Atoi(value)
		case "metric", "preference":
			r.Metric, err = strconv.Atoi(value)
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
	if err != nil || !addr.Is6() {
		return "its address cannot be read", false
	}
	if !h.down && (is(verb, "add") || verb == "replace") {
		h.d.Proxies = append(h.d.Proxies, addr)
	}
	return "", true
}

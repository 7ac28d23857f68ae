package networkmanager

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"wgkeys/deploy/tunnel/foreign"
)

// A setting is an [ipv4] or [ipv6] group.
type setting struct {
	method       entry
	addresses    []foreign.Address
	gateway      netip.Addr
	gatewayAt    foreign.Pos
	routes       []route
	options      map[string]entry // of routes, by the key of the route
	neverDefault bool
	metric       int // -1: not given
	table        int
	forward      bool
}

// A route is a routeN.
type route struct {
	foreign.Route
	key    string
	metric bool // a metric was given
}

var ipKeys = sync.OnceValue(func() map[string]handler {
	return together(map[string]handler{
		"method":     func(p *parser, e entry) { p.at.method = e },
		"address":    addressLine,
		"addresses":  addressLine,
		"gateway":    gatewayLine,
		"route":      routeLine,
		"routes":     routeLine,
		"dns":        dns,
		"dns-search": dnsSearch,
		"route_options": func(p *parser, e entry) {
			key, _ := strings.CutSuffix(e.key, "_options")
			p.at.options[key] = e
		},
		"never-default": func(p *parser, e entry) { p.truth(e, func(yes bool) { p.at.neverDefault = yes }) },
		"route-metric":  func(p *parser, e entry) { p.at.metric = p.Number(e.at, e.key, e.value, -1, foreign.Max32) },
		"route-table":   func(p *parser, e entry) { p.at.table = p.Number(e.at, e.key, e.value, 0, foreign.Max32) },
		"forwarding": func(p *parser, e entry) {
			switch e.value {
			case "1", "yes", "true":
				p.at.forward = true
			case "-1", "0", "2", "default", "no", "auto", "false":
			default:
				p.Wrong(e.at, "", "forwarding: %s is none of 0, 1, 2", foreign.Shown(e.value))
			}
		},
		"routing-rule": left("a tunnel file has no rules but those that its routes need"),
		"dns-priority": left("a tunnel's resolvers are asked for its domains; ~. is every name", "0"),
		"mtu":          left("the tunnel's mtu is for both families", "0"),
		"link-local":   left("a tunnel has the addresses that are written", "0", "1", "2", "-1"),
	}, each(ignore, "may-fail", "ignore-auto-dns", "ignore-auto-routes", "addr-gen-mode", "ip6-privacy", "token",
		"dad-timeout", "required-timeout", "ra-timeout", "auto-route-ext-gw", "temp-valid-lifetime",
		"temp-preferred-lifetime", "clat", "dhcp-client-id", "dhcp-dscp", "dhcp-duid", "dhcp-fqdn", "dhcp-hostname",
		"dhcp-hostname-flags", "dhcp-iaid", "dhcp-ipv6-only-preferred", "dhcp-pd-hint", "dhcp-reject-servers",
		"dhcp-send-hostname", "dhcp-send-hostname-v2", "dhcp-send-release", "dhcp-timeout", "dhcp-vendor-class-identifier",
		"shared-dhcp-lease-time", "shared-dhcp-range"),
		each(left(noResolver), "dns-options", "routed-dns"),
		each(left("it changes rules of the host", "0", "-1", "false"), "replace-local-rule"))
})

func (p *parser) family() (bits int) {
	if p.at == &p.ip[1] {
		return 128
	}
	return 32
}

// fields splits an address or a route as NetworkManager does: a list may be separated by
// commas or, in old files, by semicolons (read_field in libnm-core's nm-keyfile.c).
func fields(value string) []string {
	return strings.Split(strings.TrimRight(value, ",;"), string(separator(value)))
}

// separator returns the separator of a value: a comma or, in old files, a semicolon.
func separator(value string) byte {
	if strings.Contains(value, ",") {
		return ','
	}
	return ';'
}

// prefix reads ADDRESS/LENGTH, or ADDRESS with the length in the next field as in old
// files; rest are the other fields. If there is no length, it is missing, NetworkManager's
// default.
func (p *parser) prefix(e entry, missing int) (prefix netip.Prefix, rest []string, ok bool) {
	words := fields(e.value)
	address, rest := words[0], words[1:]
	if !strings.Contains(address, "/") {
		length := strconv.Itoa(missing)
		if len(rest) > 0 && rest[0] != "" && strings.Trim(rest[0], "0123456789") == "" {
			length, rest = rest[0], rest[1:]
		}
		address += "/" + length
	}
	prefix, ok = p.Prefix(e.at, e.key, address)
	if ok && prefix.Addr().BitLen() != p.family() {
		p.Wrong(e.at, "", "%s: the address is of the other family", e.key)
		ok = false
	}
	return prefix, rest, ok
}

// addressLine reads ADDRESS/LENGTH and an optional gateway. NetworkManager's default
// lengths are /24 and /64.
func addressLine(p *parser, e entry) {
	prefix, rest, ok := p.prefix(e, map[int]int{32: 24, 128: 64}[p.family()])
	if !ok {
		return
	}
	p.at.addresses = append(p.at.addresses, foreign.Address{Pos: e.at, Local: prefix})
	if len(rest) > 0 && !p.at.gateway.IsValid() {
		p.at.gateway, p.at.gatewayAt = p.addr(e, rest[0]), e.at
	}
	p.tooMany(e, rest, 1)
}

func (p *parser) tooMany(e entry, rest []string, most int) {
	if len(rest) > most {
		p.Wrong(e.at, "", "%s has more fields than NetworkManager reads", e.key)
	}
}

func gatewayLine(p *parser, e entry) { p.at.gateway, p.at.gatewayAt = p.addr(e, e.value), e.at }

// addr reads an address. An empty or unspecified one is none.
func (p *parser) addr(e entry, s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil || a.Zone() != "" || a.BitLen() != p.family():
		p.Wrong(e.at, "", "%s: %s is not an address of the family", e.key, foreign.Shown(s))
		return netip.Addr{}
	case a.IsUnspecified():
		return netip.Addr{}
	}
	return a
}

// routeLine reads DESTINATION/LENGTH, an optional gateway and an optional metric.
// NetworkManager's default lengths are /24 and /128.
func routeLine(p *parser, e entry) {
	prefix, rest, ok := p.prefix(e, map[int]int{32: 24, 128: 128}[p.family()])
	if !ok {
		return
	}
	r := route{Route: foreign.Route{Pos: e.at, Prefix: prefix.Masked()}, key: e.key}
	if len(rest) > 0 {
		r.Gateway = p.addr(e, rest[0])
	}
	if len(rest) > 1 && rest[1] != "" {
		r.Metric, r.metric = p.Number(e.at, e.key, rest[1], 0, foreign.Max32), true
	}
	p.tooMany(e, rest, 2)
	p.at.routes = append(p.at.routes, r)
}

const noOther = "a route of a tunnel has a destination, a gateway, a table and a metric"

// routeOptions reads the attributes of a route: NAME=VALUE, separated by commas.
func (p *parser) routeOptions(r *route, e entry) {
	for word := range strings.SplitSeq(e.value, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(word), "=")
		switch name {
		case "table":
			r.Table = p.Number(e.at, e.key, value, 0, foreign.Max32)
		case "", "onlink", "scope":
		case "type":
			if value != "unicast" {
				p.left(e.at, e.key, "such a route does not lead into the interface")
			}
		case "src":
			r.Source = foreign.Source{Left: foreign.Left{Pos: e.at, What: e.key + " src", Why: noOther}}
			r.Source.Addr, _ = netip.ParseAddr(value)
		case "from", "tos", "mtu", "window", "cwnd", "initcwnd", "initrwnd", "rto_min", "quickack", "advmss", "weight",
			"lock-mtu", "lock-window", "lock-cwnd", "lock-initcwnd", "lock-initrwnd", "lock-advmss":
			p.left(e.at, e.key+" "+name, noOther)
		default:
			p.Wrong(e.at, "", "%s: NetworkManager knows no attribute %s of a route", e.key, foreign.Shown(name))
		}
	}
}

// dns reads resolvers. NetworkManager ignores what is not an address; here it is an error.
func dns(p *parser, e entry) {
	for _, word := range listed(e.value) {
		bare, _, _ := strings.Cut(strings.TrimSpace(word), "#")
		if i := strings.Index(bare, "://"); i >= 0 {
			bare = strings.Trim(bare[i+3:], "[]")
		}
		a, err := netip.ParseAddr(bare)
		if err != nil {
			p.Wrong(e.at, "separate them with semicolons", "%s: %s is not an address", e.key, foreign.Shown(word))
			continue
		}
		if a.String() != word && bare != word {
			p.left(e.at, e.key, "a resolver has an address, and no port, scheme or name for TLS")
		}
		p.addDNS(a.String())
	}
}

func dnsSearch(p *parser, e entry) {
	for _, word := range listed(e.value) {
		if word == "~" {
			word = "~." // every name
		}
		p.addDNS(strings.TrimSpace(word))
	}
}

func (p *parser) addDNS(s string) {
	if !slices.Contains(p.d.DNS, s) {
		p.d.DNS = append(p.d.DNS, s)
	}
}

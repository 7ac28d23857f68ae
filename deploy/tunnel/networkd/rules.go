package networkd

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"wgkeys/deploy/tunnel/foreign"
)

// A rule is a [RoutingPolicyRule].
type rule struct {
	at       foreign.Pos
	mark     number
	masked   bool // its mask does not cover all bits
	invert   bool
	table    number
	suppress number
	family   families // zero: not given
	further  bool     // it has other selectors or actions
	used     bool     // it belongs to the policy routing of a default route
	early    bool     // it was reported to come before the routes of the main table
}

func (p *parser) rule() *rule { return &p.rules[len(p.rules)-1] }

func further(p *parser, _ entry) { p.rule().further = true }

var ruleKeys = sync.OnceValue(func() map[string]handler {
	return together(map[string]handler{
		"FirewallMark": func(p *parser, e entry) {
			mark, mask, masked := strings.Cut(e.value, "/")
			r := p.rule()
			r.mark = number{p.Number(e.at, "FirewallMark=", mark, 0, foreign.Max32), true}
			r.masked = masked && p.Number(e.at, "FirewallMark=", mask, 0, foreign.Max32) != foreign.Max32
		},
		"InvertRule":           func(p *parser, e entry) { p.rule().invert, _ = p.truth(e) },
		"Table":                func(p *parser, e entry) { p.rule().table = number{p.tableNumber(e), true} },
		"SuppressPrefixLength": func(p *parser, e entry) { p.rule().suppress = p.maybeNumber(e, 128) },
		"Priority":             func(p *parser, e entry) { p.maybeNumber(e, foreign.Max32) },
		"Family": func(p *parser, e entry) {
			all := map[string]families{"ipv4": {ipv4: true}, "ipv6": {ipv6: true}, "both": {true, true}}
			p.rule().family = all[e.value]
			if p.rule().family == (families{}) {
				p.Wrong(e.at, "", "Family=: %s is none of ipv4, ipv6, both", foreign.Shown(e.value))
			}
		},
	}, each(further, "From", "To", "IncomingInterface", "OutgoingInterface", "SourcePort", "DestinationPort", "IPProtocol",
		"TypeOfService", "User", "SuppressInterfaceGroup", "Type", "GoTo", "L3MasterDevice"))
})

// of returns the families that the rule is for. The default is IPv4.
func (r rule) of() families {
	if r.family == (families{}) {
		return families{ipv4: true}
	}
	return r.family
}

// toTunnel reports whether the rule sends packets without the mark, which are all but the
// encrypted ones, into a table. With SuppressPrefixLength= it is the rule for the more
// specific of several routes.
func (r rule) toTunnel(mark uint32) bool {
	return r.invert && r.mark.given && uint32(r.mark.val) == mark && mark != 0 && !r.masked && r.table.given &&
		r.table.val != mainTable && !r.further
}

// toMain reports whether the rule uses the more specific routes of the main table.
func (r rule) toMain() bool {
	return !r.invert && !r.mark.given && (!r.table.given || r.table.val == mainTable) && !r.further &&
		r.suppress.given
}

// policy finds the rules that belong to a default route into the tunnel. apply makes such
// rules, their table and mark by itself, so these are dropped. Other rules are left out,
// with a reason.
func (p settler) policy() {
	ruled := map[int]bool{}
	for _, ipv4 := range []bool{true, false} {
		tables := p.ruledTables(ipv4)
		maps.Copy(ruled, tables)
		for i := range p.routes {
			if r := &p.routes[i]; tables[r.table.val] && r.prefix().Addr().Is4() == ipv4 {
				r.table, r.metric, r.ruled = number{}, number{}, true
			}
		}
		if tables[int(p.d.FwMark)] {
			p.chosen = true
		}
	}
	p.unled(ruled)
	for _, r := range p.rules {
		if !r.used {
			p.left(r.at, "[RoutingPolicyRule]", "a tunnel file has no rules but those that its routes need: "+
				"a default route has a table, a mark and rules of its own")
		}
	}
	if p.chosen {
		p.d.FwMark = 0
	}
}

// unled leaves out routes of one family in a table to which only rules of the other lead: no
// packet takes them.
func (p settler) unled(ruled map[int]bool) {
	for i := range p.routes {
		r := &p.routes[i]
		if r.unled = !r.ruled && ruled[r.table.val]; r.unled {
			p.left(r.at, "route "+r.prefix().String(), "no [RoutingPolicyRule] of its family leads to table "+
				strconv.Itoa(r.table.val)+": Family=both makes one for each")
		}
	}
}

// ruledTables returns the tables that rules make all packets of a family use, other than
// the encrypted ones, and that lead into the tunnel.
func (p settler) ruledTables(ipv4 bool) map[int]bool {
	tables := map[int]bool{}
	for i := range p.rules {
		r := &p.rules[i]
		if !r.toTunnel(p.d.FwMark) || !r.of().have(ipv4) || !p.leads(r.table.val, ipv4) {
			continue
		}
		r.used, tables[r.table.val] = true, true
		before := false
		for j := range p.rules {
			if o := &p.rules[j]; o.toMain() && o.of().have(ipv4) {
				o.used, before = true, true
			}
		}
		if !before && !r.early {
			r.early = true
			p.left(r.at, "[RoutingPolicyRule]", "it comes before all routes of the main table; a tunnel's default "+
				"route comes after those of the host's own networks")
		}
	}
	return tables
}

// leads reports whether a table has a route of the family into the tunnel.
func (p settler) leads(table int, ipv4 bool) bool {
	return slices.ContainsFunc(p.routes, func(r route) bool {
		return r.table.val == table && r.prefix().Addr().Is4() == ipv4
	})
}

// nextHop returns the gateway of the route. If that is unspecified, networkd makes a route
// without one (route_section_verify in src/network/networkd-route.c).
func (r route) nextHop() netip.Addr {
	if r.gateway.IsUnspecified() {
		return netip.Addr{}
	}
	return r.gateway
}

// prefix returns the destination of the route; without one it is the default route.
func (r route) prefix() netip.Prefix {
	switch {
	case r.dest.IsValid():
		return r.dest
	case r.gateway.Is6():
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

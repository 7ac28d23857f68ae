package networkd

import (
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// A rule is a [RoutingPolicyRule].
type rule struct {
	at       foreign.Pos
	mark     number
	masked   bool // not all bits of the mark count
	invert   bool
	table    number
	suppress number
	family   families // zero: not said
	further  bool     // it has selectors or actions besides
	used     bool     // it is a part of how a default route is kept from the encrypted packets
}

func (p *parser) rule() *rule { return &p.rules[len(p.rules)-1] }

func further(p *parser, _ entry) { p.rule().further = true }

var ruleKeys = merged(map[string]handler{
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

// of is whose packets the rule is for: IPv4's where it does not say it.
func (r rule) of() families {
	if r.family == (families{}) {
		return families{ipv4: true}
	}
	return r.family
}

// toTunnel tells a rule that sends all but the encrypted packets into a table. With
// suppress it is for the more specific ones of several routes.
func (r rule) toTunnel(mark uint32) bool {
	return r.invert && r.mark.given && uint32(r.mark.val) == mark && mark != 0 && !r.masked && r.table.given &&
		r.table.val != mainTable && !r.further
}

// toMain tells a rule that has the main table's more specific routes before it.
func (r rule) toMain() bool {
	return !r.invert && !r.mark.given && (!r.table.given || r.table.val == mainTable) && !r.further &&
		r.suppress.given
}

// policy finds the rules that a default route into the tunnel has, as apply makes
// them by itself: then its table and they need not be said. The others are left.
func (p settler) policy() {
	for _, ipv4 := range []bool{true, false} {
		tables := p.ruledTables(ipv4)
		for i := range p.routes {
			if r := &p.routes[i]; tables[r.table.val] && r.prefix().Addr().Is4() == ipv4 {
				r.table, r.metric, r.ruled = number{}, number{}, true
			}
		}
		if tables[int(p.d.FwMark)] {
			p.chosen = true
		}
	}
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

// ruledTables are the tables to which rules lead all packets of a family but the
// encrypted ones, and which lead them into the tunnel.
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
		if !before {
			p.left(r.at, "[RoutingPolicyRule]", "it comes before all routes of the main table; a tunnel's default "+
				"route comes after those of the host's own networks")
		}
	}
	return tables
}

// leads tells whether a table has a route of a family into the tunnel.
func (p settler) leads(table int, ipv4 bool) bool {
	return slices.ContainsFunc(p.routes, func(r route) bool {
		return r.table.val == table && r.prefix().Addr().Is4() == ipv4
	})
}

// prefix is where the route leads: everywhere, if it does not say.
func (r route) prefix() netip.Prefix {
	switch {
	case r.dest.IsValid():
		return r.dest
	case r.gateway.Is6():
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

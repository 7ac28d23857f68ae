package apply

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/apply/firewall"
)

// A way is one that packets have to pass: what the view promises.
type way struct {
	packet firewall.Packet
	hooks  []firewall.Hook
	what   string // in words
	accept        // what has to be accepted

	early, late *accept // likewise where less is known: see accepts
	wide        *accept // what accepts this and other ways; nil: nothing
	leaving     bool    // of an encrypted packet: it leaves
}

// An accept is what has to be accepted, in the words of nft(8), iptables(8) and ufw(8).
type accept struct{ open, tables, ufw string }

// accepts is what a chain of a hook has to accept, or nil where no rule could tell.
// Before packets are routed and tracked the interface by which they leave is not known,
// nor whose answers they are; after all, where they came in is not.
func (w *way) accepts(hook firewall.Hook) *accept {
	switch {
	case (hook == firewall.Ingress || hook == firewall.Prerouting) && (w.packet.Answer || w.early != nil):
		return w.early
	case hook == firewall.Egress:
		return w.late
	}
	return &w.accept
}

var (
	through = []firewall.Hook{firewall.Ingress, firewall.Prerouting, firewall.Forward, firewall.Postrouting,
		firewall.Egress}
	into  = []firewall.Hook{firewall.Ingress, firewall.Prerouting, firewall.Input}
	outOf = []firewall.Hook{firewall.Output, firewall.Postrouting, firewall.Egress}
)

// Protocols of IP.
const (
	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	protocolICMPv6 = 58
)

// An obstacle is a chain that drops what goes some ways, which one rule would let
// pass, or sends it elsewhere.
type obstacle struct {
	where string
	what  []string
	rule  string
	moved int    // the port of what it sends elsewhere; 0: it drops
	then  string // what else is to be said of the rule

	remarked bool // it does neither: what it gives another mark goes into the tunnel
}

// String is what a finding says.
func (o obstacle) String() string {
	if o.remarked {
		return fmt.Sprintf("%s gives another mark to %s, which goes into the tunnel itself then: %s%s", o.where,
			several(o.what), o.rule, o.then)
	}
	if o.moved == 0 {
		return fmt.Sprintf("%s drops %s: %s%s", o.where, several(o.what), o.rule, o.then)
	}
	return fmt.Sprintf("%s sends elsewhere %s: %s%s (conntrack -D -p udp --orig-port-dst %d is for those who came before)",
		o.where, several(o.what), o.rule, o.then, o.moved)
}

// judgeFirewall finds what the host's packet filter is certain to drop of what the
// view promises. Filters are others': what to add is said, and nothing is added.
func judgeFirewall(p *planner) {
	if len(p.state.Firewall.Chains) == 0 {
		return
	}
	for _, o := range slices.Concat(closedThrough(p, closedWays(p)), closedPort(p), closedOut(p), closedInside(p)) {
		p.find("%s", o)
	}
}

// several lists what is the same trouble, and no more of it than can be read.
func several(list []string) string {
	const most = 3
	if n := len(list) - most; n > 0 {
		return fmt.Sprintf("%s and %d more ways", strings.Join(list[:most], ", "), n)
	}
	return strings.Join(list, ", ")
}

// closedWays are those of forwarded packets. One that either TCP or UDP may pass is
// as somebody wanted it.
func closedWays(p *planner) (found []obstacle) {
	for _, family := range forwardedFamilies(p) {
		for _, w := range forwardedWays(p, family) {
			if drop := dropOfBoth(p, w.packet, w.hooks); drop != nil {
				found = hinder(p, found, w, drop)
			}
		}
	}
	return found
}

// dropOfBoth is where a packet is dropped, be it TCP or UDP.
func dropOfBoth(p *planner, packet firewall.Packet, hooks []firewall.Hook) (drop *firewall.Drop) {
	for _, protocol := range []byte{protocolTCP, protocolUDP} {
		packet.Protocol = protocol
		if drop = p.state.Firewall.Drops(packet, hooks...); drop == nil {
			return nil
		}
	}
	return drop
}

func forwardedFamilies(p *planner) (list []firewall.Family) {
	if p.view.Forward && p.view.ForwardIPv4 {
		list = append(list, firewall.IPv4)
	}
	if p.view.Forward && p.view.ForwardIPv6 {
		list = append(list, firewall.IPv6)
	}
	return list
}

// hinder adds a way that is closed to what the same rule would open.
func hinder(p *planner, found []obstacle, w way, drop *firewall.Drop) []obstacle {
	o := obstacle{where: where(drop), what: []string{w.what}, remarked: drop.Remarked}
	if drop.Moved {
		o.moved = w.packet.DestPort
	}
	if w.wide != nil {
		o.rule = ruleFor(p, w.wide, drop)
		if o.joins(found) {
			return found
		}
	}
	if o.rule, o.then = firewalldRule(p, drop); o.rule == "" {
		o.rule, o.then = ruleFor(p, w.accepts(drop.Chain.Hook), drop), keeping(p, drop)
	}
	if o.joins(found) {
		return found
	}
	return append(found, o)
}

// joins adds a way to what the same rule would open, and reports whether there is any.
func (o *obstacle) joins(found []obstacle) bool {
	for i := range found {
		f := &found[i]
		if f.where != o.where || f.rule != o.rule || f.moved != o.moved || f.remarked != o.remarked {
			continue
		}
		if !slices.Contains(f.what, o.what[0]) {
			f.what = append(f.what, o.what[0])
		}
		return true
	}
	return false
}

// where names a chain as its own tool does.
func where(d *firewall.Drop) string {
	c := d.Chain
	by := "a rule"
	if d.Policy {
		by = "the policy"
	}
	if c.Legacy {
		return fmt.Sprintf("firewall chain %s of table %s of %s (%s)", c.Name, c.Table, legacyTool(c), by)
	}
	return fmt.Sprintf("firewall chain %s of table %s %s (%s)", c.Name, c.Family, c.Table, by)
}

func legacyTool(c *firewall.Chain) string {
	if c.Family == firewall.IPv6 {
		return "ip6tables-legacy"
	}
	return "iptables-legacy"
}

// ruleFor is what accepts packets that are dropped, in the words of whoever made the chain.
// It comes before all other rules of a base chain, where it decides.
func ruleFor(p *planner, accept *accept, d *firewall.Drop) string {
	c, rules := d.Chain, &p.state.Firewall
	ufw := map[firewall.Family]string{firewall.IPv4: "ufw-before-input", firewall.IPv6: "ufw6-before-input"}[c.Family]
	tables := []string{"raw", "mangle", "nat", "filter", "security"}
	standard := (c.Family == firewall.IPv4 || c.Family == firewall.IPv6) && slices.Contains(tables, c.Table)
	switch {
	case accept == nil && c.Legacy:
		return fmt.Sprintf("%s -t %s -S %s shows it", legacyTool(c), c.Table, c.Name)
	case accept == nil:
		return fmt.Sprintf("nft list chain %s %s %s shows it", c.Family, c.Table, c.Name)
	case rules.Has(c, ufw) && makerOf(rules, d) == nobody:
		return "ufw " + accept.ufw
	case c.Legacy || standard && rules.IPTables && c.Name == strings.ToUpper(c.Name):
		return iptables(accept, d, rules)
	case c.Owned:
		return "only the program that made that table may change it: nft list table " + c.Family.String() + " " + c.Table
	}
	return fmt.Sprintf("nft insert rule %s %s %s %s accept", c.Family, c.Table, c.Name, accept.open)
}

// iptables is the rule as iptables(8) takes it. Docker begins its chain again, and leaves one
// to others. Libvirt's chains may come before that.
func iptables(w *accept, d *firewall.Drop, rules *firewall.Ruleset) string {
	c := d.Chain
	tool := map[firewall.Family]string{firewall.IPv4: "iptables", firewall.IPv6: "ip6tables"}[c.Family]
	if c.Legacy {
		tool = legacyTool(c)
	}
	if c.Table != "filter" {
		tool += " -t " + c.Table
	}
	chain := c.Name
	if c.Hook == firewall.Forward && rules.Has(c, "DOCKER-USER") && makerOf(rules, d) != libvirt {
		chain = "DOCKER-USER"
	}
	return fmt.Sprintf("%s -I %s %s -j ACCEPT", tool, chain, w.tables)
}

// forwardedWays are those between the tunnel and its uplinks, and between its
// peers. Without an uplink, they lead to all other networks, if to none of them.
func forwardedWays(p *planner, family firewall.Family) []way {
	spelled, link := spelledFamily(family), firewall.Link{Name: p.view.Tunnel, Index: p.state.LinkIndex}
	inside, peers := insidePrefix(p, family)
	leaves := func(to firewall.Link, what string) way {
		return way{packet: firewall.Packet{Family: family, In: link, Out: to, Source: inside}, hooks: through, what: what,
			accept: anythingFrom(link.Name)}
	}
	var ways []way
	if peers > 1 && !p.view.Isolate {
		between := leaves(link, spelled+" from peer to peer")
		between.packet.Dest = inside
		ways = append(ways, between)
	}
	for _, x := range outsideLinks(p, family) {
		ways = append(ways, leaves(x, spelled+" from the tunnel to "+x.Name))
	}
	for _, x := range outsideLinks(p, family) {
		ways = append(ways, way{
			packet: firewall.Packet{Family: family, In: x, Out: link, Dest: inside, Answer: true}, hooks: through,
			what: spelled + " answers from " + x.Name + " to the tunnel", accept: answersTo(link.Name),
		})
	}
	return ways
}

// anythingFrom accepts all that comes from the tunnel.
func anythingFrom(tunnel string) accept {
	return accept{"iifname " + nftName(tunnel), "-i " + tunnel, "route allow in on " + tunnel}
}

// answersTo accepts all answers that go into the tunnel.
func answersTo(tunnel string) accept {
	return accept{"oifname " + nftName(tunnel) + " ct state established,related",
		"-o " + tunnel + " -m conntrack --ctstate ESTABLISHED,RELATED", "route allow out on " + tunnel}
}

// widened is the shortest prefix that has both; the zero Prefix has nothing.
func widened(common, prefix netip.Prefix) netip.Prefix {
	if !common.IsValid() {
		return prefix
	}
	for common.Bits() > 0 && !(common.Bits() <= prefix.Bits() && common.Contains(prefix.Addr())) {
		common = netip.PrefixFrom(common.Addr(), common.Bits()-1).Masked()
	}
	return common
}

func hasFamily(family firewall.Family, ipv4, ipv6 bool) bool {
	return family == firewall.IPv4 && ipv4 || family == firewall.IPv6 && ipv6
}

func spelledFamily(f firewall.Family) string {
	if f == firewall.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// outsideLinks are the uplinks of a family or, if there are none, the other networks in which
// the host has an address. The latter count only if nothing passes to any of them, nor from
// peer to peer: the way to some of them, such as those of containers, may be closed on purpose.
func outsideLinks(p *planner, family firewall.Family) []firewall.Link {
	var uplinks, others []firewall.Link
	for _, i := range p.state.Interfaces {
		link := firewall.Link{Name: i.Name, Index: i.Index}
		up := slices.ContainsFunc(p.uplinks(), func(u Uplink) bool {
			return u.Name == i.Name && hasFamily(family, u.IPv4, u.IPv6)
		})
		switch {
		case up:
			uplinks = append(uplinks, link)
		case hasFamily(family, i.IPv4, i.IPv6) && i.Name != p.view.Tunnel:
			others = append(others, link)
		}
	}
	if uplinks != nil {
		return uplinks
	}
	tunnel := firewall.Link{Name: p.view.Tunnel, Index: p.state.LinkIndex}
	ways := others
	if _, peers := insidePrefix(p, family); peers > 1 && !p.view.Isolate {
		ways = append([]firewall.Link{tunnel}, others...)
	}
	for _, link := range ways {
		packet := firewall.Packet{Family: family, Protocol: protocolTCP, In: tunnel, Out: link}
		if p.state.Firewall.Drops(packet, through...) == nil {
			return nil
		}
	}
	return others
}

// insidePrefix is the shortest prefix that contains all addresses of a family that the peers
// are allowed, and how many of the peers are allowed any. It is none where that may be anything.
func insidePrefix(p *planner, family firewall.Family) (common netip.Prefix, peers int) {
	for i := range p.view.Peers {
		any := false
		for _, prefix := range p.view.Peers[i].AllowedIPs {
			if prefix.Addr().Is4() != (family == firewall.IPv4) {
				continue
			}
			any = true
			common = widened(common, prefix)
		}
		if any {
			peers++
		}
	}
	if common.Bits() <= 0 {
		common = netip.Prefix{}
	}
	return common, peers
}

// nftName spells an interface's name for nft(8), which takes a plain one without
// quotes; those would have to be quoted for the shell.
func nftName(name string) string {
	plain := strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
	}) < 0
	if plain && (name[0] < '0' || name[0] > '9') {
		return name
	}
	return `'"` + name + `"'`
}

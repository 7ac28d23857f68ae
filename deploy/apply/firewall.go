package apply

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/apply/firewall"
	"wgkeys/deploy/tunnel"
)

// A way is one that packets have to pass: what the view promises.
type way struct {
	packet firewall.Packet
	hooks  []firewall.Hook
	what   string // in words
	open   string // in nft(8)'s words: what has to be accepted
	tables string // likewise in iptables(8)'s
	ufw    string // likewise in ufw(8)'s

	leaving bool // of an encrypted packet: it leaves
}

var (
	through = []firewall.Hook{firewall.Prerouting, firewall.Forward, firewall.Postrouting}
	into    = []firewall.Hook{firewall.Prerouting, firewall.Input}
	outOf   = []firewall.Hook{firewall.Output, firewall.Postrouting}
)

// Protocols of IP.
const (
	protocolTCP = 6
	protocolUDP = 17
)

// An obstacle is a chain that drops what goes some ways, which one rule would let
// pass.
type obstacle struct {
	where string
	what  []string
	rule  string
}

// judgeFirewall finds what the host's packet filter is certain to drop of what the
// view promises. Filters are others': what to add is said, and nothing is added.
func judgeFirewall(p *planner) {
	if len(p.state.Firewall.Chains) == 0 {
		return
	}
	found := slices.Concat(closedWays(p), closedPort(p), closedOut(p))
	for _, o := range found {
		p.find("%s drops %s: %s, and keep that where this firewall is configured", o.where, several(o.what), o.rule)
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
			var drop *firewall.Drop
			for _, protocol := range []byte{protocolTCP, protocolUDP} {
				w.packet.Protocol = protocol
				if drop = p.state.Firewall.Drops(w.packet, w.hooks...); drop == nil {
					break
				}
			}
			if drop != nil {
				found = hinder(p, found, w, drop)
			}
		}
	}
	return found
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
	o := obstacle{where(drop), []string{w.what}, ruleFor(p, w, drop)}
	for i := range found {
		if f := &found[i]; f.where == o.where && f.rule == o.rule {
			if !slices.Contains(f.what, w.what) {
				f.what = append(f.what, w.what)
			}
			return found
		}
	}
	return append(found, o)
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

// ruleFor is what lets the packets of w pass, in the words of whoever made the
// chain. It comes before all other rules of a base chain, where it decides.
func ruleFor(p *planner, w way, d *firewall.Drop) string {
	c, rules := d.Chain, &p.state.Firewall
	ufw := map[firewall.Family]string{firewall.IPv4: "ufw-before-input", firewall.IPv6: "ufw6-before-input"}[c.Family]
	standard := c.Family != firewall.INet && slices.Contains([]string{"raw", "mangle", "filter", "security"}, c.Table)
	switch {
	case c.Hook == firewall.Prerouting && w.packet.Answer: // not routed yet: no rule could tell
		return fmt.Sprintf("nft list chain %s %s %s shows it", c.Family, c.Table, c.Name)
	case rules.Has(c, ufw):
		return "ufw " + w.ufw
	case c.Legacy || standard && rules.IPTables && c.Name == strings.ToUpper(c.Name):
		return iptables(w, c, rules)
	case c.Owned:
		return "only the program that made that table may change it (firewalld: firewall-cmd --permanent --zone=trusted --add-interface=" +
			p.view.Tunnel + " for what is forwarded, --add-port=PORT/udp for what comes in): nft list table " +
			c.Family.String() + " " + c.Table
	}
	return fmt.Sprintf("nft insert rule %s %s %s %s accept", c.Family, c.Table, c.Name, w.open)
}

// iptables is the rule as iptables(8) takes it. Docker begins its chain again, and
// leaves one to others.
func iptables(w way, c *firewall.Chain, rules *firewall.Ruleset) string {
	tool := map[firewall.Family]string{firewall.IPv4: "iptables", firewall.IPv6: "ip6tables"}[c.Family]
	if c.Legacy {
		tool = legacyTool(c)
	}
	if c.Table != "filter" {
		tool += " -t " + c.Table
	}
	chain := c.Name
	if c.Hook == firewall.Forward && rules.Has(c, "DOCKER-USER") {
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
			open: "iifname " + nftName(link.Name), tables: "-i " + link.Name, ufw: "route allow in on " + link.Name}
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
			what:   spelled + " answers from " + x.Name + " to the tunnel",
			open:   "oifname " + nftName(link.Name) + " ct state established,related",
			tables: "-o " + link.Name + " -m conntrack --ctstate ESTABLISHED,RELATED", ufw: "route allow out on " + link.Name,
		})
	}
	return ways
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

// outside are the uplinks of a family or, where there are none, the other networks
// that the host has an address in, if nothing at all passes to them, nor from peer to
// peer. To some of several, as to those of containers, it may be closed on purpose.
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

// inside is the shortest prefix that has all that the peers are allowed of a family,
// and how many of them are allowed any. It is none where that may be anything.
func insidePrefix(p *planner, family firewall.Family) (common netip.Prefix, peers int) {
	for i := range p.view.Peers {
		any := false
		for _, prefix := range p.view.Peers[i].AllowedIPs {
			if prefix.Addr().Is4() != (family == firewall.IPv4) {
				continue
			}
			any = true
			if !common.IsValid() {
				common = prefix
			}
			for common.Bits() > 0 && !(common.Bits() <= prefix.Bits() && common.Contains(prefix.Addr())) {
				common = netip.PrefixFrom(common.Addr(), common.Bits()-1).Masked()
			}
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

// closedPort finds that no packet of a peer reaches the tunnel's port, which has to
// be open where peers come to us. If it is not closed to one family of addresses,
// the other may be closed on purpose: that is told while a peer is waited for, or all
// came by the other, and nobody opened this very port to the first.
func closedPort(p *planner) (found []obstacle) {
	if p.view.ListenPort == 0 || !slices.ContainsFunc(p.view.Peers, func(q tunnel.Peer) bool { return q.Endpoint == "" }) {
		return nil
	}
	tell := true
	for _, family := range []firewall.Family{firewall.IPv4, firewall.IPv6} {
		w := portWay(p, family)
		drops, links := dropsOf(p, w)
		if len(drops) < links { // peers may come by another
			w.packet.DestPort = w.packet.DestPort%0xffff + 1
			others, _ := dropsOf(p, w)
			tell = (awaitsPeer(p) || !comesBy(p, family)) && len(others) == len(drops)
			continue
		}
		for _, drop := range drops {
			found = hinder(p, found, w, drop)
		}
	}
	if !tell {
		return nil
	}
	return found
}

// dropsOf are where packets are dropped that come, or leave, by the interfaces by which
// peers may come, and how many those are.
func dropsOf(p *planner, w way) (drops []*firewall.Drop, links int) {
	arriving := arrivingLinks(p, w.packet.Family)
	for _, link := range arriving {
		if w.leaving {
			w.packet.Out = link
		} else {
			w.packet.In = link
		}
		if drop := p.state.Firewall.Drops(w.packet, w.hooks...); drop != nil {
			drops = append(drops, drop)
		}
	}
	return drops, len(arriving)
}

func portWay(p *planner, family firewall.Family) way {
	port := p.view.ListenPort
	return way{
		packet: firewall.Packet{Family: family, Protocol: protocolUDP, DestPort: port}, hooks: into,
		what: fmt.Sprintf("what peers send to UDP port %d, OUTSIDE, over %s", port, spelledFamily(family)),
		open: fmt.Sprintf("udp dport %d", port), tables: fmt.Sprintf("-p udp --dport %d", port),
		ufw: fmt.Sprintf("allow %d/udp", port),
	}
}

// awaitsPeer reports whether a peer that has to come to us never did.
func awaitsPeer(p *planner) bool {
	live := liveEndpoints(p)
	return slices.ContainsFunc(p.view.Peers, func(q tunnel.Peer) bool {
		return q.Endpoint == "" && !live[q.PublicKey].IsValid()
	})
}

// comesBy reports whether a peer that has to come to us last came by a family.
func comesBy(p *planner, family firewall.Family) bool {
	live := liveEndpoints(p)
	return slices.ContainsFunc(p.view.Peers, func(q tunnel.Peer) bool {
		a := live[q.PublicKey]
		return q.Endpoint == "" && a.IsValid() && a.Is4() == (family == firewall.IPv4)
	})
}

// arriving are the interfaces by which peers may come: the uplinks, or where there
// are none all that have an address, but for other tunnels.
func arrivingLinks(p *planner, family firewall.Family) []firewall.Link {
	var uplinks, others []firewall.Link
	for _, i := range p.state.Interfaces {
		if !hasFamily(family, i.IPv4, i.IPv6) || i.Name == p.view.Tunnel || i.Kind == "wireguard" || i.Kind == "tun" ||
			i.Kind == "tuntap" {
			continue
		}
		link := firewall.Link{Name: i.Name, Index: i.Index}
		others = append(others, link)
		if slices.ContainsFunc(p.uplinks(), func(u Uplink) bool { return u.Name == i.Name }) {
			uplinks = append(uplinks, link)
		}
	}
	if uplinks != nil {
		return uplinks
	}
	return others
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

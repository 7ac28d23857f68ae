package apply

import (
	"fmt"
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// The priorities that the kernel itself would choose, just before main's 32766.
const (
	prioritySpare = 32600 // while the mark changes: before those of any length
	priorityMain  = 32764 // what is more specific than the tunnel's route comes first
	priorityLast  = 32765 // the last before main's
	firstTable    = 51820 // as wg-quick(8) has it
)

// A policyRouting is policy routing for the tunnel: its encrypted packets carry a mark,
// the captured routes are in a table of their own, and everything without the mark
// looks there. So neither do they catch the encrypted packets that they are made
// of, nor does any default route of the main table, whatever its metric or
// preference, take away what is the tunnel's.
type policyRouting struct {
	mark       Mark
	table      int
	ipv4, ipv6 bool
	routes     map[netip.Prefix]bool // that are captured
}

// findPolicyRouting finds what the tunnel needs of it. A host that sets table sees to its rules
// itself.
func findPolicyRouting(p *planner) (policyRouting, error) {
	var c policyRouting
	if normalTable(p.view.Table) != 0 {
		return c, nil
	}
	c.routes = policyRoutes(p)
	for prefix := range c.routes {
		c.ipv4 = c.ipv4 || prefix.Addr().Is4()
		c.ipv6 = c.ipv6 || !prefix.Addr().Is4()
	}
	if !c.ipv4 && !c.ipv6 {
		return c, nil
	}
	c.mark, c.table = chooseMark(p), chooseTable(p)
	return c, refuseSecond(p, c)
}

// NeedsPolicyRouting reports whether routes of the view need policy routing.
func NeedsPolicyRouting(view *tunnel.View, state *State) bool {
	p := &planner{view: view, state: state}
	return normalTable(view.Table) == 0 && len(policyRoutes(p)) > 0
}

// policyRoutes returns the routes in which an endpoint lies, and those that are
// everything, or half of it, of either family.
func policyRoutes(p *planner) map[netip.Prefix]bool {
	found := map[netip.Prefix]bool{}
	addAround(p, found)
	for _, r := range p.view.Routes {
		// Who gives it a metric or a gateway wants it beside the host's own routes,
		// where it can stand there.
		plain := r.Gateway.IsValid() || normalMetric(r.Prefix, r.Metric) != 0
		if r.Prefix.Bits() < wide && (!plain || !endpointsElsewhere(p, r.Prefix)) {
			found[r.Prefix] = true
		}
	}
	return found
}

// wide is the length below which a route is taken to be everything, or half of
// it: an endpoint that nobody knows yet is likely to lie there.
const wide = 8

// keptWide is the length from which a route of the main table comes before a wide
// one of the tunnel. Not one only: a DHCP server may hand out 0.0.0.0/1 (RFC 3442),
// and a router advertise 2000::/3 (RFC 4191). fc00::/7 is somebody's own network
// (RFC 4193).
func keptWide(ipv6 bool) int {
	if ipv6 {
		return 7
	}
	return wide
}

// endpointsElsewhere reports whether the encrypted packets of all peers are
// known to be of the other family than prefix. A peer whose name is not
// resolved yet, or that has yet to come to us, may be of either.
func endpointsElsewhere(p *planner, prefix netip.Prefix) bool {
	live := liveEndpoints(p)
	for i := range p.view.Peers {
		want := &p.view.Peers[i]
		if want.Endpoint == "" {
			return false // wherever it is now, tomorrow it comes from elsewhere
		}
		known := false
		for _, addr := range addressesOf(p, want, live) {
			if addr.IsValid() && addr.Is4() == prefix.Addr().Is4() {
				return false
			}
			known = known || addr.IsValid()
		}
		if !known {
			return false
		}
	}
	return true
}

func liveEndpoints(p *planner) map[keyring.PublicKey]netip.Addr {
	live := make(map[keyring.PublicKey]netip.Addr, len(p.state.Peers))
	for _, q := range p.state.Peers {
		live[q.PublicKey] = q.Endpoint.Addr()
	}
	return live
}

func literal(peer *tunnel.Peer) netip.Addr {
	addr, _ := netip.ParseAddrPort(peer.Endpoint)
	return addr.Addr()
}

// refuseSecond: two tunnels that each catch all that does not carry their mark
// would catch each other's encrypted packets.
func refuseSecond(p *planner, c policyRouting) error {
	for _, r := range p.state.Rules {
		mine := p.isMine(RuleChange{Rule: r}.Resource())
		if mine || r.NotMark.Value == 0 || r.IPv6 && !c.ipv6 || !r.IPv6 && !c.ipv4 {
			continue
		}
		return fault.New("cannot route everything of one family through tunnel", p.view.Tunnel,
			fmt.Sprintf("another tunnel does so already (ip rule: %s), and each would catch the other's packets", r),
			`narrow its routes, or set table = N for this host and add the rules for it yourself`)
	}
	return nil
}

// rules are what policy routing needs, in the order in which they are looked at and
// added: for each length of the captured routes, the longest first, the routes of
// the main table that are at least as specific, then the tunnel's.
func (c policyRouting) rules() []Rule {
	var rules []Rule
	for _, ipv6 := range []bool{false, true} {
		lengths := c.lengths(ipv6)
		for i, length := range lengths {
			priority := priorityMain - 2*(len(lengths)-1-i)
			if ipv6 {
				priority-- // for the refusals
			}
			of := Rule{IPv6: ipv6, Priority: priority + 1, NotMark: c.mark, Table: c.table}
			if i < len(lengths)-1 {
				of.AtLeast = length
			}
			rules = append(rules, Rule{IPv6: ipv6, Priority: priority, AtLeast: length}, of)
		}
	}
	return rules
}

// lengths are those of the captured routes of a family, the longest first; all wide
// ones count as one.
func (c policyRouting) lengths(ipv6 bool) []int {
	var lengths []int
	for prefix := range c.routes {
		if prefix.Addr().Is6() == ipv6 {
			length := prefix.Bits()
			if length < wide {
				length = keptWide(ipv6)
			}
			lengths = append(lengths, length)
		}
	}
	slices.Sort(lengths)
	lengths = slices.Compact(lengths)
	slices.Reverse(lengths)
	return lengths
}

// refusals are what [Unreachable] routes are, as rules: those of IPv6 belong to the
// loopback device (ip6_route_info_create), and go when it loses IPv6 or goes down
// (rt6_disable_ip), as disable_ipv6 of all has it. A rule belongs to no device. IPv4's
// routes have none either.
func (c policyRouting) refusals() []Rule {
	var rules []Rule
	for prefix := range c.routes {
		if prefix.Addr().Is6() {
			rules = append(rules, Rule{IPv6: true, Priority: priorityLast, NotMark: c.mark, Refuses: prefix})
		}
	}
	slices.SortFunc(rules, func(a, b Rule) int { return a.Refuses.Compare(b.Refuses) })
	return rules
}

// setRules comes before the routes: without them a captured route would be
// looked at by nobody.
func setRules(p *parameters) {
	c := p.policyRouting
	if c.ipv4 {
		// The mark counts in the reverse path check (fib_validate_source).
		p.set("net/ipv4/conf/all/src_valid_mark", "1", "answers to %s are looked up with their mark", p.view.Tunnel)
		noteMarksOfOthers(p.planner)
	}
	keepAnswering(p)
	addRules(p.planner, c.rules())
}

// acceptMark has a connection that is accepted send with the mark of the packet that
// opened it (tcp_fwmark_accept in the kernel's ip-sysctl.rst; both families).
const acceptMark = "net/ipv4/tcp_fwmark_accept"

// keepAnswering keeps a way in to a host whose interface is gone. Its answers would
// then meet the unreachable route before a table of nftables sees them; with the mark,
// which what came in by an uplink has, they go out by it. Where the parameter cannot
// be set they wait, which is no reason to have no tunnel.
func keepAnswering(p *parameters) {
	_, known := p.now[acceptMark]
	if answersWait(p.planner) && known && p.state.Hurdles.Fixed[acceptMark] == "" {
		p.set(acceptMark, "1", "whoever came in by an uplink is answered by it also when %s is gone", p.view.Tunnel)
	}
}

// answersWait reports whether there are unreachable routes behind the tunnel's.
func answersWait(p *planner) bool {
	return (p.policyRouting.ipv4 || p.policyRouting.ipv6) && !p.view.NoKillSwitch
}

func addRules(p *planner, rules []Rule) {
	for _, r := range rules {
		if !slices.Contains(p.state.Rules, r) {
			p.step(RuleChange{r, true}, "%s", whyRule(r))
		}
	}
}

func whyRule(r Rule) string {
	switch {
	case r.Refuses.IsValid():
		return "without the tunnel's routes nothing leaves in the clear"
	case r.NotMark.Value != 0:
		return "all but the encrypted packets, OUTSIDE, look for the tunnel's routes"
	case r.Mark.Value != 0:
		return "encrypted packets, OUTSIDE, pass while their mark changes"
	case r.AtLeast == keptWide(r.IPv6):
		return "routes more specific than a default route stay as they are"
	}
	return fmt.Sprintf("routes of at least /%d stay as they are", r.AtLeast)
}

// noteMarksOfOthers tells what src_valid_mark is to whoever else marks packets.
func noteMarksOfOthers(p *planner) {
	for _, m := range p.state.TakenMarks {
		if m != p.policyRouting.mark && !isMyMark(p, m) {
			p.note("net.ipv4.conf.all.src_valid_mark=1 counts for all marks: where rp_filter is strict, a packet that comes in with mark %s is checked against the rules for that mark too", m)
			return
		}
	}
}

func removeRules(p *planner) {
	want := append(spares(p), p.policyRouting.rules()...)
	for _, r := range p.state.Rules {
		if c := (RuleChange{r, false}); !r.Refuses.IsValid() && p.isMine(c.Resource()) && !slices.Contains(want, r) {
			p.step(c, "no longer needed")
		}
	}
}

// markTransition reports whether a rule of ours spares the packets of a mark that is to
// change. Without the mark they would go into the tunnel that they make up, so
// it stays as long as the rule.
func markTransition(p *planner) bool {
	old := p.state.Device.FwMark
	return old != 0 && old != wantDevice(p).FwMark && slices.ContainsFunc(p.state.Rules, func(r Rule) bool {
		return r.NotMark.In(old) && p.isMine(RuleChange{Rule: r}.Resource())
	})
}

// spares are the rules that let packets of the old mark pass the new rules, and
// those of the new one the old rules.
func spares(p *planner) []Rule {
	if !markTransition(p) {
		return nil
	}
	var rules []Rule
	for _, ipv6 := range []bool{false, true} {
		for _, m := range changingMarks(p, ipv6) {
			rules = append(rules, Rule{IPv6: ipv6, Priority: prioritySpare, Mark: m})
		}
	}
	return rules
}

// changingMarks are those that rules of a family look for, before and after.
func changingMarks(p *planner, ipv6 bool) []Mark {
	var marks []Mark
	add := func(r Rule, also bool) {
		if r.IPv6 == ipv6 && r.NotMark.Value != 0 && also && !slices.Contains(marks, r.NotMark) {
			marks = append(marks, r.NotMark)
		}
	}
	for _, r := range p.state.Rules {
		add(r, p.isMine(RuleChange{Rule: r}.Resource()))
	}
	for _, r := range p.policyRouting.rules() {
		add(r, true)
	}
	return marks
}

// setMark changes a mark once no rule spares the old one any more.
func setMark(p *planner) {
	if !markTransition(p) {
		return
	}
	want := wantDevice(p)
	old := want
	old.FwMark = p.state.Device.FwMark
	changeDevice(p, old, want)
	for _, r := range spares(p) {
		p.step(RuleChange{r, false}, "the mark has changed")
	}
}

package apply

import (
	"fmt"
	"net/netip"
	"slices"
)

// setRules comes before the routes: without them a route of policy routing would be
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
	want := append(passRules(p), p.policyRouting.rules()...)
	for _, r := range p.state.Rules {
		if c := (RuleChange{r, false}); !r.Refuses.IsValid() && p.isMine(c.Resource()) && !slices.Contains(want, r) {
			p.step(c, "no longer needed")
		}
	}
}

// passRules are the rules that let packets of the old mark pass the new rules, and
// those of the new one the old rules.
func passRules(p *planner) []Rule {
	if !markTransition(p) {
		return nil
	}
	var rules []Rule
	for _, ipv6 := range []bool{false, true} {
		for _, m := range changingMarks(p, ipv6) {
			rules = append(rules, Rule{IPv6: ipv6, Priority: priorityPass, Mark: m})
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

// setMark changes a mark once no rule is for the old one any more.
func setMark(p *planner) {
	if !markTransition(p) {
		return
	}
	want := wantDevice(p)
	old := want
	old.FwMark = p.state.Device.FwMark
	changeDevice(p, old, want)
	for _, r := range passRules(p) {
		p.step(RuleChange{r, false}, "the mark has changed")
	}
}

// wantUnreachables are one for each route of policy routing, and for each piece.
func wantUnreachables(p *planner) []Unreachable {
	if p.view.NoKillSwitch {
		return nil
	}
	var want []Unreachable
	for prefix := range p.policyRouting.routes {
		want = append(want, Unreachable{prefix, p.policyRouting.table})
	}
	for _, prefix := range pieces(p) {
		want = append(want, Unreachable{prefix, mainTable})
	}
	slices.SortFunc(want, func(a, b Unreachable) int { return a.Prefix.Compare(b.Prefix) })
	return want
}

// pieces are the narrower parts of a default route that is written without somebody's
// networks, as in "all but 192.168.0.0/16": 11.0.0.0/8 beside 8.0.0.0/7 and 12.0.0.0/6. What
// is private is a network of its own, and no part of it. No default route takes such a
// part away, so it needs no rules; but without the interface one has it.
func pieces(p *planner) (parts []netip.Prefix) {
	wides := [2][]netip.Prefix{}
	for prefix := range p.policyRouting.routes {
		if f := familyOf(prefix.Addr()); prefix.Bits() < wide {
			wides[f] = append(wides[f], prefix)
		}
	}
	if wides[0] == nil && wides[1] == nil {
		return nil
	}
	for _, want := range wantedRoutes(p) {
		around := wides[familyOf(want.Prefix.Addr())]
		within := func(w netip.Prefix) bool { return w.Contains(want.Prefix.Addr()) }
		own := want.covered || want.Table != 0 || p.policyRouting.routes[want.Prefix]
		if around != nil && !own && isPublic(want.Prefix.Addr()) && !slices.ContainsFunc(around, within) {
			parts = append(parts, want.Prefix)
		}
	}
	return parts
}

// isPublic leaves out private addresses (RFC 1918, RFC 4193), those of a provider's own
// network (RFC 6598) and those of a link.
func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

// wantRefusals are the rules beside the unreachable routes.
func wantRefusals(p *planner) []Rule {
	if p.view.NoKillSwitch {
		return nil
	}
	return p.policyRouting.refusals()
}

// addUnreachables comes after the tunnel's own routes, which what is on its way
// needs, and removeUnreachables before those go.
func addUnreachables(p *planner) {
	for _, u := range subtract(wantUnreachables(p), p.state.Unreachables) {
		p.step(UnreachableChange{u, true}, "without the tunnel's interface nothing leaves in the clear")
	}
	addRules(p, wantRefusals(p))
}

func removeUnreachables(p *planner) {
	want := wantRefusals(p)
	for _, r := range p.state.Rules {
		if c := (RuleChange{r, false}); r.Refuses.IsValid() && p.isMine(c.Resource()) && !slices.Contains(want, r) {
			p.step(c, "no longer needed")
		}
	}
	for _, u := range subtract(p.state.Unreachables, wantUnreachables(p)) {
		if c := (UnreachableChange{u, false}); p.isMine(c.Resource()) {
			p.step(c, "no longer needed")
		}
	}
}

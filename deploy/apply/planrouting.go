package apply

import (
	"fmt"
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

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
	keepRouted(p, found)
	for _, r := range p.view.Routes {
		// Whoever gives it a metric or a gateway wants it beside the host's own routes,
		// where it can stand there.
		beside := r.Gateway.IsValid() || normalMetric(r.Prefix, r.Metric) != 0
		if r.Prefix.Bits() < wide && (!beside || !endpointsElsewhere(p, r.Prefix)) {
			found[r.Prefix] = true
		}
	}
	return found
}

// keepRouted adds the routes that have policy routing already while a name that is not
// looked up now may have more addresses than the one in use: otherwise the plan after the
// one that has looked it up would take back what that found to be needed.
func keepRouted(p *planner, found map[netip.Prefix]bool) {
	routed := map[netip.Prefix]bool{}
	for _, r := range p.state.Routes {
		if r.Table != 0 && slices.ContainsFunc(p.state.Rules, func(of Rule) bool {
			return of.NotMark.Value != 0 && of.Table == r.Table && of.IPv6 == r.Prefix.Addr().Is6()
		}) {
			routed[r.Prefix] = true
		}
	}
	if len(routed) == 0 || !slices.ContainsFunc(p.view.Peers, func(q tunnel.Peer) bool {
		e, lookedUp := p.state.Endpoints[q.Endpoint]
		return tunnel.IsName(q.Endpoint) && (!lookedUp || e.Err != nil)
	}) {
		return
	}
	for _, r := range p.view.Routes {
		if routed[r.Prefix] {
			found[r.Prefix] = true
		}
	}
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

// refuseSecond: two tunnels that each catch all that does not carry their mark
// would catch each other's encrypted packets. A rule that refuses such packets, as people
// add one to let nothing leave in the clear, is no tunnel: but before the tunnel's own rules
// it leaves nothing for these.
func refuseSecond(p *planner, c policyRouting) error {
	for _, r := range p.state.Rules {
		mine := p.isMine(RuleChange{Rule: r}.Resource())
		switch {
		case mine || r.NotMark.Value == 0 || r.IPv6 && !c.ipv6 || !r.IPv6 && !c.ipv4:
		case !r.Refuses.IsValid() && goesBeside(p, r):
		case !r.Refuses.IsValid():
			return fault.New("cannot route everything of one family through tunnel", p.view.Tunnel,
				fmt.Sprintf("another tunnel does so already (ip rule: %s), and each would catch the other's packets", r),
				`narrow its routes, or set table = N for this host and add the rules for it yourself`)
		case r.Refuses.Bits() < wide && r.Priority <= priorityLast:
			return fault.New("cannot route everything of one family through tunnel", p.view.Tunnel,
				fmt.Sprintf("a rule refuses all packets without mark %s before they come to the tunnel (ip rule: %s); "+
					"wgkeys itself lets nothing leave past it", r.NotMark, r), RuleChange{r, false}.String())
		}
	}
	return nil
}

// goesBeside reports whether the tunnel can be beside a rule that sends all without a mark of
// its own into a table: a foreign one with a few networks, as Calico has it for its pods. Two
// of wgkeys' own would share the rule for the main table, which goes with the first of them.
func goesBeside(p *planner, r Rule) bool {
	return slices.Contains(p.state.NarrowTables, FamilyTable{r.IPv6, r.Table}) &&
		!p.others.Has(RuleChange{Rule: r}.Resource())
}

// marks are the ranges that a tunnel chooses from, in the low byte, the best first. Above it
// Kubernetes has 0x8000 and 0x4000, the portmap plugin 0x2000, mwan3 0x3f00, Cilium 0x0f00
// and the upper half, Tailscale 0xff0000, Calico 0xffff0000 by default. The first are no
// number that people write by hand (1, 2, 0x10, 100, 255); none has the bit 0x80 of the CNI
// plugin of AWS. A rule for a single bit, as fwmark 0x10/0x10, may take all of the first.
var marks = [][2]uint32{{0x57, 0x5f}, {0x21, 0x7f}, {0x03, 0x0f}}

const chosenMask = 0xff

// chooseMark is the view's, the one chosen at an earlier apply, or the first that
// no rule of the host takes for its own.
func chooseMark(p *planner) Mark {
	if p.view.FwMark != 0 {
		return masked(p.view.FwMark)
	}
	for _, r := range p.state.Rules {
		m := r.NotMark
		if p.isMine(RuleChange{Rule: r}.Resource()) && isChosen(m) && !takenMark(p, m.Value) {
			return m
		}
	}
	for _, r := range marks {
		for value := r[0]; value <= r[1]; value++ {
			if !takenMark(p, value) {
				return Mark{value, chosenMask}
			}
		}
	}
	return Mark{marks[0][1], chosenMask}
}

// isChosen reports whether a mark is one of the best, of which the one that was chosen is
// kept.
func isChosen(m Mark) bool {
	return m.Mask == chosenMask && marks[0][0] <= m.Value && m.Value <= marks[0][1]
}

func takenMark(p *planner, value uint32) bool {
	return slices.ContainsFunc(p.state.TakenMarks, func(m Mark) bool { return m.In(value) && !isMyMark(p, m) })
}

// isMyMark reports whether a rule of ours looks for the mark: one may be left of a
// crash.
func isMyMark(p *planner, m Mark) bool {
	return slices.ContainsFunc(p.state.Rules, func(r Rule) bool {
		return (r.Mark == m || r.NotMark == m) && p.isMine(RuleChange{Rule: r}.Resource())
	})
}

// chooseTable is the one that our rules look into already, or the first that no
// rule of the host looks into.
func chooseTable(p *planner) int {
	taken := map[int]bool{}
	for _, r := range p.state.Rules {
		if r.NotMark.Value != 0 && r.Table != 0 && p.isMine(RuleChange{Rule: r}.Resource()) {
			return r.Table
		}
	}
	for _, table := range p.state.TakenTables {
		taken[table] = true
	}
	table := firstTable
	for taken[table] {
		table++
	}
	return table
}

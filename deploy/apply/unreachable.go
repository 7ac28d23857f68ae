package apply

import (
	"fmt"
	"net/netip"
	"slices"
)

// An Unreachable is a route that leads nowhere, behind a route of the tunnel in its
// own table: when the interface or the device in user space is gone, and its routes
// with it, what was to go through the tunnel is refused instead of leaving in the
// clear.
type Unreachable struct {
	Prefix netip.Prefix
	Table  int
}

// UnreachableMetric is larger than that of any route of the tunnel.
const UnreachableMetric = 1<<32 - 2

// An UnreachableChange adds or removes an [Unreachable].
type UnreachableChange struct {
	Route Unreachable
	Add   bool
}

func (c UnreachableChange) Resource() string {
	return fmt.Sprintf("unreachable %s %d", c.Route.Prefix, c.Route.Table)
}
func (c UnreachableChange) Inverse() []Change { c.Add = !c.Add; return []Change{c} }
func (c UnreachableChange) String() string {
	return fmt.Sprintf("ip %s route %s unreachable %s metric %d table %d", Route{Prefix: c.Route.Prefix}.family(), verb(c.Add),
		c.Route.Prefix, UnreachableMetric, c.Route.Table)
}

// wantUnreachables are one for each captured route.
func wantUnreachables(p *planner) []Unreachable {
	if p.view.NoKillSwitch {
		return nil
	}
	var want []Unreachable
	for prefix := range p.policyRouting.routes {
		want = append(want, Unreachable{prefix, p.policyRouting.table})
	}
	slices.SortFunc(want, func(a, b Unreachable) int { return a.Prefix.Compare(b.Prefix) })
	return want
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

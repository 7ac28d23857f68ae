package apply

import (
	"fmt"
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel"
)

// Astray tells which wide routes of the view the kernel does not send into the
// tunnel, by its own answers: another rule or route comes first. One address alone
// may have a route of its own.
func Astray(view *tunnel.View, ways []Way) []string {
	if normalTable(view.Table) != 0 {
		return nil // who sees to the rules himself decides what goes there
	}
	astray, asked := map[netip.Prefix][]Way{}, map[netip.Prefix]int{}
	for _, w := range ways {
		asked[w.Prefix]++
		if w.Link != view.Tunnel {
			astray[w.Prefix] = append(astray[w.Prefix], w)
		}
	}
	var found []string
	for i := range view.Routes {
		r := &view.Routes[i]
		list := astray[r.Prefix]
		if len(list) == 0 || len(list) == 1 && asked[r.Prefix] > 1 || normalMetric(r.Prefix, r.Metric) != 0 {
			continue // who gives a metric wants it to be compared
		}
		found = append(found, tellAstray(view.Tunnel, list[0]))
	}
	return found
}

func tellAstray(link string, w Way) string {
	family := Route{Prefix: w.Prefix}.family()
	where := "by " + w.Link + ", past the tunnel"
	if w.Link == "" {
		where = "nowhere"
	}
	return fmt.Sprintf("%s is to go through %s, and the kernel sends what is for %s %s, since another rule or route comes first: ip %s route get %s; ip %s rule",
		w.Prefix, link, w.Addr, where, family, w.Addr, family)
}

// findAstray comes last. Before steps that change the ways, what the kernel says
// now says nothing.
func findAstray(p *planner) {
	if slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.Change.traits().steers }) {
		return
	}
	for _, found := range Astray(p.view, p.state.Ways) {
		p.find("%s", found)
	}
}

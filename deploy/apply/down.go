package apply

import (
	"slices"
	"strings"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// MakeDown plans the way back to what the host had before the first apply of
// the tunnel: the journal's entries, last touched first. It needs no view.
func MakeDown(name string, state *State, mine *journal.Journal, others journal.Entries) *Plan {
	p := &planner{view: &tunnel.View{Tunnel: name}, state: state, mine: mine, others: others, plan: &Plan{Tunnel: name}}
	params := &parameters{planner: p, now: sysctls(state.Sysctls).clone()}
	proxies := map[journal.Resource]Proxy{}
	for _, x := range state.Proxies {
		proxies[ProxyChange{Proxy: x}.Resource()] = x
	}
	goes := state.Link != nil && p.linkIsMine()
	for _, resource := range backwards(mine.Order) {
		kind, key := resource.Kind, resource.Name
		if kind == journal.Sysctl && goes && params.inherited(key) != key {
			continue // goes with the link
		}
		switch kind {
		case journal.Sysctl:
			params.restore(key)
		case journal.Proxy:
			if x, ok := proxies[resource]; ok {
				p.step(ProxyChange{x, false}, "no longer to be answered for")
			}
		case journal.Rule:
			if i := slices.IndexFunc(state.Rules, func(r Rule) bool { return RuleChange{Rule: r}.Resource() == resource }); i >= 0 {
				p.step(RuleChange{state.Rules[i], false}, "no longer needed")
			}
		case journal.Unreachable:
			if i := slices.IndexFunc(state.Unreachables, func(u Unreachable) bool { return UnreachableChange{Route: u}.Resource() == resource }); i >= 0 {
				p.step(UnreachableChange{state.Unreachables[i], false}, "no longer needed")
			}
		case journal.Unmanaged:
			releaseManager(p, resource)
		case journal.DNS:
			p.step(DNSChange{name, strings.Fields(mine.Entries[resource].Set), nil, state.Resolver, state.Record}, "no longer asked for")
		case journal.Filter:
			if state.FilterRules > 0 || state.FilterDiffers {
				p.step(FilterChange{Link: name, Old: &Filter{Link: name}}, "no longer needed")
			}
		case journal.Link:
			switch {
			case state.Renamed != "":
				p.step(LinkChange{Name: state.Renamed, Old: &Link{}}, "the tunnel's interface, which somebody renamed")
			case goes:
				p.step(LinkChange{Name: name, Old: state.Link}, "and with it its addresses, routes and peers")
			case state.Link != nil:
				p.note("interface %s is not the one that wgkeys made: left alone", name)
			}
		}
	}
	return p.plan
}

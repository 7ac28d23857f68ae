package apply

import (
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
)

// MakeDown plans the way back to what the host had before the first apply of
// the tunnel: the journal's entries, last touched first. It needs no view.
func MakeDown(name string, state *State, mine *Journal, others Entries) *Plan {
	p := &planner{view: &tunnel.View{Tunnel: name}, state: state, mine: mine, others: others, plan: &Plan{Tunnel: name}}
	params := &parameters{planner: p, now: sysctls(state.Sysctls).clone()}
	proxies := map[string]Proxy{}
	for _, x := range state.Proxies {
		proxies[ProxyChange{Proxy: x}.Resource()] = x
	}
	goes := state.Link != nil && p.linkIsMine()
	for _, resource := range backwards(mine.Order) {
		kind, key, _ := strings.Cut(resource, " ")
		if kind == "sysctl" && goes && params.inherited(key) != key {
			continue // goes with the link
		}
		switch kind {
		case "sysctl":
			params.restore(key)
		case "proxy":
			if x, ok := proxies[resource]; ok {
				p.step(ProxyChange{x, false}, "no longer to be answered for")
			}
		case "rule":
			if i := slices.IndexFunc(state.Rules, func(r Rule) bool { return RuleChange{Rule: r}.Resource() == resource }); i >= 0 {
				p.step(RuleChange{state.Rules[i], false}, "no longer needed")
			}
		case "unreachable":
			if i := slices.IndexFunc(state.Unreachables, func(u Unreachable) bool { return UnreachableChange{Route: u}.Resource() == resource }); i >= 0 {
				p.step(UnreachableChange{state.Unreachables[i], false}, "no longer needed")
			}
		case "unmanaged":
			releaseManager(p, resource)
		case "dns":
			p.step(DNSChange{name, strings.Fields(mine.Entries[resource].Set), nil, state.Resolver, state.Record}, "no longer asked for")
		case "filter":
			if state.FilterRules > 0 || state.FilterDiffers {
				p.step(FilterChange{Link: name, Old: &Filter{Link: name}}, "no longer needed")
			}
		case "link":
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

package apply

import (
	"strings"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// A downPlanner plans a down.
type downPlanner struct {
	*parameters
	goes    bool // the link is ours, and is removed
	proxies map[journal.Resource]Proxy
}

// MakeDown plans how to restore what the host had before the first apply of the tunnel: the
// journal's entries, last touched first. It needs no view.
func MakeDown(name string, state *State, mine *journal.Journal, others journal.Entries) *Plan {
	p := &planner{view: &tunnel.View{Tunnel: name}, state: state, mine: mine, others: others, plan: &Plan{Tunnel: name}}
	down := &downPlanner{
		parameters: &parameters{planner: p, now: sysctls(state.Sysctls).clone()},
		goes:       state.Link != nil && p.linkIsMine(),
		proxies:    map[journal.Resource]Proxy{},
	}
	for _, x := range state.Proxies {
		down.proxies[ProxyChange{Proxy: x}.Resource()] = x
	}
	for resource := range backwards(mine.Order) {
		down.putBack(resource)
	}
	return p.plan
}

// putBack restores one thing of the journal. What has no case here goes with the link.
func (p *downPlanner) putBack(resource journal.Resource) {
	switch resource.Kind {
	case journal.Sysctl:
		if key := resource.Name; !p.goes || p.inherited(key) == key { // otherwise it goes with the link
			p.restore(key)
		}
	case journal.Proxy:
		if x, ok := p.proxies[resource]; ok {
			p.step(ProxyChange{x, false}, "no longer to be answered for")
		}
	case journal.Rule:
		removeOf(p.planner, resource, p.state.Rules, func(r Rule) Change { return RuleChange{r, false} })
	case journal.Unreachable:
		removeOf(p.planner, resource, p.state.Unreachables, func(u Unreachable) Change { return UnreachableChange{u, false} })
	case journal.Unmanaged:
		releaseManager(p.planner, resource)
	case journal.DNS:
		reported := strings.Fields(p.mine.Entries[resource].Set)
		p.step(DNSChange{p.view.Tunnel, reported, nil, p.state.Resolver, p.state.Record}, "no longer asked for")
	case journal.Filter:
		if p.state.FilterRules > 0 || p.state.FilterDiffers {
			p.step(FilterChange{Link: p.view.Tunnel, Old: &Filter{Link: p.view.Tunnel}}, "no longer needed")
		}
	case journal.Link:
		p.removeLink()
	}
}

// removeOf removes the thing that the journal speaks of, if it is still there.
func removeOf[T any](p *planner, resource journal.Resource, things []T, removal func(T) Change) {
	for _, x := range things {
		if c := removal(x); c.Resource() == resource {
			p.step(c, "no longer needed")
			return
		}
	}
}

func (p *downPlanner) removeLink() {
	switch name := p.view.Tunnel; {
	case p.state.Renamed != "":
		p.step(LinkChange{Name: p.state.Renamed, Old: &Link{}}, "the tunnel's interface, which somebody renamed")
	case p.goes:
		p.step(LinkChange{Name: name, Old: p.state.Link}, "and with it its addresses, routes and peers")
	case p.state.Link != nil:
		p.note("interface %s is not the one that wgkeys made: left alone", name)
	}
}

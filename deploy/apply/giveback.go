package apply

import (
	"net/netip"
	"slices"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// GiveBack plans how to restore a tunnel to the state in which it was taken over: what is
// gone is made again, and what apply added is removed. The link stays, with its peers and
// its resolvers, unless it had none; if it is gone, the program that made it makes another.
func GiveBack(name string, state *State, mine *journal.Journal, others journal.Entries, was *Adopted) *Plan {
	p := &planner{view: &tunnel.View{Tunnel: name}, state: state, mine: mine, others: others, plan: &Plan{Tunnel: name}}
	if state.Link == nil {
		p.removeAdded(&Adopted{NewDNS: was.NewDNS})
		return p.plan
	}
	pass := p.passBoth(was)
	addRules(p, pass)
	p.widen(was)
	p.makeAgain(was)
	p.removeAdded(was)
	old, want := state.Device, state.Device
	want.FwMark, want.ListenPort = was.FwMark, was.ListenPort
	changeDevice(p, old, want)
	for _, r := range pass {
		p.step(RuleChange{r, false}, "the mark has changed")
	}
	p.resize(was, func(have int) bool { return have > was.MTU })
	p.filterLast()
	return p.plan
}

// filterLast has the firewall of wgkeys go last. Until packets that leave have the other
// mark, nobody else marks those that come in.
func (p *planner) filterLast() {
	rank := func(s Step) int {
		if _, is := s.Change.(FilterChange); is {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(p.plan.Steps, func(a, b Step) int { return rank(a) - rank(b) })
}

// widen lets the link have IPv6 again, where a later apply took it away.
func (p *planner) widen(was *Adopted) {
	p.resize(was, func(have int) bool { return have < was.MTU })
	key := "net/ipv6/conf/" + p.view.Tunnel + "/disable_ipv6"
	if e, touched := p.mine.Entries[journal.Sysctl.Of(key)]; touched && p.state.Sysctls[key] != e.Was {
		p.step(sysctls(p.state.Sysctls).change(key, e.Was), "as it was before")
	}
}

func (p *planner) resize(was *Adopted, ifSo func(have int) bool) {
	if l := p.state.Link; l != nil && ifSo(l.MTU) {
		next := *l
		next.MTU = was.MTU
		p.step(LinkChange{Name: p.view.Tunnel, Old: l, New: &next}, "its MTU, as it was before")
	}
}

// passBoth are rules that let packets with either mark pass while it changes.
func (p *planner) passBoth(was *Adopted) (pass []Rule) {
	if p.state.Device.FwMark == was.FwMark {
		return nil
	}
	for _, r := range slices.Concat(p.state.Rules, was.Rules) {
		through := Rule{IPv6: r.IPv6, Priority: priorityPass, Mark: r.NotMark}
		if (r.NotMark.In(p.state.Device.FwMark) || r.NotMark.In(was.FwMark)) && !slices.Contains(pass, through) {
			pass = append(pass, through)
		}
	}
	return pass
}

// makeAgain adds what a later apply removed or changed. IPv6 has an address only once on a
// link, so an address with another length or far end is removed first.
func (p *planner) makeAgain(was *Adopted) {
	link := p.view.Tunnel
	for _, a := range subtract(was.Addresses, p.state.Addresses) {
		if other, there := sameAddress(p.state.Addresses, a); there {
			p.step(AddressChange{link, other, false}, "is about to be %s, and IPv6 has an address once", a)
		}
		p.step(AddressChange{link, a, true}, "as it was before")
	}
	for _, r := range sortForGateways(was.Routes, func(r Route) netip.Addr { return r.Gateway }) {
		i := slices.IndexFunc(p.state.Routes, func(live Route) bool { return live.key() == r.key() })
		switch {
		case i < 0:
			p.step(RouteChange{link, nil, &r}, "as it was before")
		case p.state.Routes[i] != r:
			p.step(RouteChange{link, &p.state.Routes[i], &r}, "by its gateway, as before")
		}
	}
	for _, r := range subtract(was.Rules, p.state.Rules) {
		p.step(RuleChange{r, true}, "as it was before")
	}
}

// removeAdded removes what is in the journal and was not there when the tunnel was taken
// over, last first.
func (p *planner) removeAdded(was *Adopted) {
	theirs := map[journal.Resource]bool{}
	for _, c := range was.changes(p.view.Tunnel) {
		theirs[c.Resource()] = true
	}
	gone := map[journal.Resource]bool{}
	for _, s := range p.plan.Steps {
		gone[s.Change.Resource()] = true
	}
	down := &downPlanner{
		parameters: &parameters{planner: p, now: sysctls(p.state.Sysctls).clone()},
		proxies:    map[journal.Resource]Proxy{},
	}
	for _, x := range p.state.Proxies {
		down.proxies[ProxyChange{Proxy: x}.Resource()] = x
	}
	link := p.view.Tunnel
	for resource := range backwards(p.mine.Order) {
		switch {
		case theirs[resource] || gone[resource]:
		case resource.Kind == journal.Link, resource.Kind == journal.DNS && !was.NewDNS: // the link stays
		case resource.Kind == journal.Address:
			removeOf(p, resource, p.state.Addresses, func(a Address) Change { return AddressChange{link, a, false} })
		case resource.Kind == journal.Route:
			removeOf(p, resource, p.state.Routes, func(r Route) Change { return RouteChange{link, &r, nil} })
		default:
			down.putBack(resource)
		}
	}
}

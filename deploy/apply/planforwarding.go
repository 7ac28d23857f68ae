package apply

import (
	"maps"
	"slices"
	"strings"

	"wgkeys/deploy/apply/journal"
)

// IPv6 is forwarded in one of two ways.
//
// Where the kernel has force_forwarding (Linux 6.17 and later) it is set on the
// interfaces that packets come in by. ip6_forward() asks for nothing else, so the
// host learns its routes from router advertisements as before.
//
// Elsewhere all.forwarding makes the host a router, which ignores advertisements
// and drops the default routes learned from them unless the interface's own
// accept_ra is 2 (addrconf_fixup_forwarding, ipv6_accept_ra).

// forwarding is what a router needs: parameters, advertisements, neighbours.
type forwarding struct{ *parameters }

// forwards6 reports whether the view needs IPv6 to be forwarded.
func forwards6(p *planner) bool { return p.view.Forward && p.view.ForwardIPv6 }

// forces reports whether IPv6 is forwarded by force_forwarding. A host that a
// tunnel of ours has made a router stays one until that is undone: 0 written to
// all.forwarding takes force_forwarding away from every interface, and with it
// packets. A container whose parameters are read-only can be started with all.forwarding, and
// not with a parameter of a link that is not there yet.
func (p *forwarding) forces() bool {
	now, can := p.state.Sysctls[forceForwardingOf("default")]
	if p.state.Hurdles.Fixed[forceForwardingOf("default")] != "" && now != "1" {
		return false
	}
	return can && !p.isMine(journal.Sysctl.Of(forward6)) && !p.others.Has(journal.Sysctl.Of(forward6))
}

// makesRouter reports whether the tunnel is why the host has all.forwarding.
func (p *forwarding) makesRouter() bool {
	return forwards6(p.planner) && !p.forces() && p.before(forward6) == "0"
}

// proxiesRoute reports whether an interface has to be a router's by itself, to
// answer for INSIDE addresses (ndisc_recv_ns looks at its own forwarding alone).
func (p *forwarding) proxiesRoute(link string) bool {
	return forwards6(p.planner) && !p.makesRouter() && slices.Contains(proxyLinks(p.planner), link)
}

// purges reports whether something of the view drops default routes that were
// learned from router advertisements: forwarding written to all interfaces or to
// one does so on each whose accept_ra is not 2 (rt6_purge_dflt_routers).
func (p *forwarding) purges() bool {
	return p.makesRouter() || slices.ContainsFunc(proxyLinks(p.planner), func(link string) bool {
		return p.proxiesRoute(link) && !p.forwarded(link)
	})
}

// forwarded reports whether an interface was a router's before us. One that came
// later has what the default was then.
func (p *forwarding) forwarded(link string) bool {
	key, inherited := forwardingOf(link), forwardingOf("default")
	known := p.isMine(journal.Sysctl.Of(key)) || p.others.Has(journal.Sysctl.Of(key))
	if !known && (p.isMine(journal.Sysctl.Of(inherited)) || p.others.Has(journal.Sysctl.Of(inherited))) {
		key = inherited
	}
	return p.before(key) != "0"
}

// accepts reports whether an interface accepts router advertisements, but for us
// (ipv6_accept_ra). What ignores them, as a router does, has to go on ignoring
// them: whoever is on that link would make himself the host's default route.
func (p *forwarding) accepts(link string) bool {
	v := p.now[acceptRA(link)]
	if p.forwarded(link) {
		return v == "2"
	}
	return v != "0" && v != ""
}

// forceForwarding has packets forwarded that come in by any interface: answers
// to what the tunnel sends may come by an uplink that has no route yet, as at boot,
// and by a network behind this host. all.force_forwarding would be shorter, and
// set nothing where it is 1 already.
func (p *forwarding) forceForwarding() {
	uplinks := p.uplinks()
	p.rememberForced()
	for _, key := range slices.Sorted(maps.Keys(p.now)) {
		link, ok := strings.CutSuffix(strings.TrimPrefix(key, interfaces6), "/force_forwarding")
		up := slices.ContainsFunc(uplinks, func(u Uplink) bool { return u.Name == link })
		switch {
		case !ok, link == "all", link == "default", link == "lo", link == p.view.Tunnel:
		case up:
			p.set(key, "1", "%s is an uplink: what comes in by it is forwarded, and it goes on accepting router advertisements",
				link)
		case !slices.Contains(p.state.Ports, link): // what comes in by a port comes in by its bridge
			p.set(key, "1", "what comes in by %s may be for the tunnel", link)
		}
	}
	p.set(forceForwardingOf(p.view.Tunnel), "1", "%s is a router for IPv6: what comes in by the tunnel is forwarded",
		p.view.Host)
	p.set(forceForwardingOf("default"), "1", "what comes in by an interface that comes later may be for the tunnel")
}

// rememberForced notes in the journal which interfaces have force_forwarding before it becomes
// the default: those that have it later have it from that, see [parameters.unforce].
func (p *forwarding) rememberForced() {
	inherited := forceForwardingOf("default")
	if p.now[inherited] == "1" || p.isMine(journal.Sysctl.Of(inherited)) {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(p.now)) {
		link, ok := strings.CutSuffix(strings.TrimPrefix(key, interfaces6), "/force_forwarding")
		if ok && link != "all" && p.now[key] == "1" && !p.isMine(journal.Sysctl.Of(key)) {
			p.step(ShareChange{key, "1", "1"}, "it was there before")
		}
	}
}

func (p *forwarding) setForwarding() {
	if !p.view.Forward {
		return
	}
	switch {
	case !p.view.ForwardIPv6:
	case p.forces():
		p.forceForwarding()
	default:
		if p.makesRouter() && p.accepts("default") {
			// After the link is made: it has no use for advertisements itself.
			p.set(acceptRA("default"), "2",
				"an interface that comes later may learn its default route from router advertisements")
		}
		p.set(forward6, "1", "%s is a router for IPv6", p.view.Host)
	}
	if p.view.ForwardIPv4 {
		p.set(forward4, "1", "%s is a router for IPv4", p.view.Host)
		p.forwardIPv4()
	}
}

// forwardIPv4 has packets forwarded that come in by the tunnel or by an uplink that has it
// off: ip_route_input_slow() asks the interface alone, and a host that was a router already
// may have another default for new interfaces.
func (p *forwarding) forwardIPv4() {
	links := map[string]string{p.view.Tunnel: "what comes in by the tunnel is forwarded"}
	for _, u := range p.uplinks() {
		if u.IPv4 {
			links[u.Name] = u.Name + " is an uplink: what comes in by it is forwarded"
		}
	}
	for _, link := range slices.Sorted(maps.Keys(links)) {
		key := forwarding4Of(link)
		now, known := p.now[key]
		if !known && link == p.view.Tunnel {
			now = p.now[p.inherited(key)]
		}
		// What another tunnel has set with ip_forward is shared with that already.
		alone := p.others.Has(journal.Sysctl.Of(key)) && !p.others.Has(journal.Sysctl.Of(forward4))
		if alone || same(now, "0") {
			p.set(key, "1", "%s", links[link])
		}
	}
}

package apply

import (
	"net/netip"
	"slices"
)

// A claimedRoute is one of the tunnel's, its own or the kernel's with an address.
type claimedRoute struct {
	Route
	onLink bool
	behind bool // it is looked at after those of the main table that are as specific
}

// lookBeside tells of the other routes that the tunnel's live with, and of addresses
// that another interface has too.
func lookBeside(p *planner) {
	for _, a := range p.state.Hurdles.Addresses {
		p.find("address %s, INSIDE, is also on %s: packets to and from it go by one of the two alone. Give one of them another address", a.Addr, a.Link)
	}
	for _, a := range p.state.Hurdles.Peers {
		p.find("%s, INSIDE, does not go to peer %s: it is an address of this host too, on %s, and what is for it stays here. "+
			"Give one of the two another address, or: ip addr show to %s", a.Addr, a.Peer, a.Link, a.Addr)
	}
	for _, g := range p.state.Hurdles.Gateways {
		if !p.policyRouting.routes[g.Prefix] {
			p.find("%s, the gateway of %s, OUTSIDE, lies in %s, INSIDE: what is for it itself, such as questions to a resolver there, goes into the tunnel. "+
				"Give the tunnel another prefix, or: ip route add %[1]s/%[4]d dev %[2]s", g.Addr, g.Link, g.Prefix, g.Addr.BitLen())
		}
	}
	if len(p.state.Hurdles.Routes) == 0 {
		return
	}
	wanted := map[netip.Prefix]claimedRoute{}
	for _, want := range p.view.Routes {
		r := Route{Prefix: want.Prefix, Metric: normalMetric(want.Prefix, want.Metric), Table: normalTable(p.view.Table)}
		behind := p.policyRouting.routes[want.Prefix]
		if !behind || want.Prefix.Bits() >= wide {
			wanted[r.Prefix] = claimedRoute{Route: r, behind: behind}
		}
	}
	for _, n := range p.view.Networks() {
		if !n.IsSingleIP() {
			wanted[n] = claimedRoute{Route: Route{Prefix: n, Metric: connectedMetric(n)}, onLink: true}
		}
	}
	for _, o := range p.state.Hurdles.Routes {
		compareRoute(p, o, wanted)
	}
}

// findLeased finds that a DHCP client has taken the link: dhcpcd, when it is to manage all
// interfaces, replaces the route that the kernel made with an address of a point-to-point link by
// its own. It removes that when it ends, 10.1 the address as well, unless it is to be persistent.
func findLeased(p *planner) {
	for _, n := range p.view.Networks() {
		if slices.Contains(p.state.Leased, n) {
			p.find("a DHCP client has taken %s: the route to %s, INSIDE, is its own, and may go with the address when it ends. Of dhcpcd: "+
				"echo denyinterfaces %[1]s >>/etc/dhcpcd.conf; systemctl restart dhcpcd; ip route flush dev %[1]s proto dhcp",
				p.view.Tunnel, n)
		}
	}
}

// findNowhere finds a default route that leads nowhere and is the first one of the main table. The
// rule suppress_prefixlength 0 does not pass over it, as over one that leads somewhere, since the
// kernel's answer is an error then (fib_rules_lookup). So the tunnel's table is never asked.
func findNowhere(p *planner) {
	first := map[netip.Prefix]OtherRoute{}
	for _, o := range p.state.Hurdles.Routes {
		if !p.policyRouting.routes[o.Prefix] || o.Prefix.Bits() > 0 || o.Table != 0 || o.Throws {
			continue
		}
		if have, some := first[o.Prefix]; !some || metricOf(o.Route) < metricOf(have.Route) {
			first[o.Prefix] = o
		}
	}
	for _, r := range p.view.Routes {
		if o, some := first[r.Prefix]; some && o.Link == "" {
			p.plan.Nowhere = append(p.plan.Nowhere, r.Prefix)
			p.find("%s, INSIDE, does not go into the tunnel, nor anywhere else: the default route of this host leads nowhere, "+
				"and comes first: ip %s route del default metric %d", r.Prefix, o.family(), metricOf(o.Route))
		}
	}
}

// connectedMetric is that of the route that comes with an address: IPv6 has
// IP6_RT_PRIO_ADDRCONF.
func connectedMetric(n netip.Prefix) int {
	if n.Addr().Is4() {
		return 0
	}
	return 256
}

func compareRoute(p *planner, o OtherRoute, wanted map[netip.Prefix]claimedRoute) {
	r, same := wanted[o.Prefix]
	if !same {
		if o.Table == 0 && normalTable(p.view.Table) == 0 && !o.Tunnel && o.Origin == Network {
			notePart(p, o, wanted)
		}
		return
	}
	if o.Table != r.Table {
		return
	}
	if r.behind {
		p.find("%s, INSIDE, does not go into the tunnel: %s has a route to it, which comes first, since an endpoint lies in it. "+
			"Give one of the two networks another prefix", o.Prefix, o.name())
		return
	}
	there := slices.ContainsFunc(p.state.Routes, func(have Route) bool { return have.key() == r.key() })
	compareMetric(p, o, r, there)
}

// compareMetric tells which of two routes of one prefix and table is used. The tunnel's is
// there already, or will be.
func compareMetric(p *planner, o OtherRoute, r claimedRoute, there bool) {
	switch theirs, ours := metricOf(o.Route), metricOf(r.Route); {
	case theirs < ours:
		p.find("%s, INSIDE, does not go into the tunnel: %s has a route to it of metric %d, and the tunnel's has %d. "+
			"Give one of the two networks another prefix, or this tunnel's routes a lower metric", o.Prefix, o.name(), theirs,
			ours)
	case theirs == ours && r.onLink:
		p.find("network %s, INSIDE, is also that of %s: packets to it go by one of the two alone. Give one of them another prefix", o.Prefix, o.name())
	case theirs == ours && there && o.Preferred:
		p.find("%s, INSIDE, does not go into the tunnel: %s has a route to it of the same metric and a high preference, as "+
			"routers advertise it. Give this tunnel's routes a lower metric: metric = %d for the host in the tunnel file",
			o.Prefix, o.name(), max(ours/2, 1))
	case theirs > ours && o.Link == "": // it waits behind the tunnel's
	case theirs > ours || there:
		p.note("%s, INSIDE, goes into the tunnel; %s has a route to the same prefix, which is not used meanwhile", o.Prefix,
			o.name())
	}
}

// notePart tells of a network that is a part of what the tunnel leads to.
func notePart(p *planner, o OtherRoute, wanted map[netip.Prefix]claimedRoute) {
	for bits := o.Prefix.Bits() - 1; bits >= wide; bits-- {
		if outer, err := o.Prefix.Addr().Prefix(bits); err == nil && wanted[outer].Prefix.IsValid() {
			p.note("%s, the network of %s, is a part of %s, INSIDE, and stays outside of the tunnel", o.Prefix, o.name(), outer)
			return
		}
	}
}

func (o OtherRoute) name() string {
	switch {
	case o.Link == "":
		return "a route that leads nowhere"
	case o.Tunnel:
		return "tunnel " + o.Link
	}
	return o.Link
}

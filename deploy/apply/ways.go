package apply

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
)

// Astray tells which routes of the plan's view the kernel does not send into the tunnel, by its own
// answers: another rule or route comes first. One address alone may have a route of its own.
// The plan itself tells of a route that another interface has too, see [lookBeside].
func (plan *Plan) Astray(ways []Way) (found []string) {
	view := plan.View
	if normalTable(view.Table) != 0 {
		return nil // who sees to the rules himself decides what goes there
	}
	past, asked := map[netip.Prefix][]Way{}, map[netip.Prefix]int{}
	for _, w := range ways {
		asked[w.Prefix]++
		if w.Link != view.Tunnel && !w.Local {
			past[w.Prefix] = append(past[w.Prefix], w)
		}
	}
	var narrow []Way
	for i := range view.Routes {
		r := &view.Routes[i]
		list := past[r.Prefix]
		if len(list) == 0 || len(list) == 1 && asked[r.Prefix] > 1 || normalMetric(r.Prefix, r.Metric) != 0 {
			continue // who gives a metric wants it to be compared
		}
		if r.Prefix.Bits() < wide && !slices.Contains(plan.Nowhere, r.Prefix) {
			found = append(found, tellAstray(view.Tunnel, list[0], 0))
		} else if r.Prefix.Bits() >= wide && !slices.Contains(plan.Beside, r.Prefix) {
			narrow = append(narrow, list[0])
		}
	}
	if len(narrow) > 0 {
		found = append(found, tellAstray(view.Tunnel, narrow[0], len(narrow)-1))
	}
	return found
}

// tellAstray tells of one route, and of how many others there are.
func tellAstray(link string, w Way, others int) string {
	family := Route{Prefix: w.Prefix}.family()
	where := "by " + w.Link + ", past the tunnel"
	if w.Link == "" {
		where = "nowhere"
	}
	also := ""
	switch {
	case others == 1:
		also = " (and likewise with one other route)"
	case others > 1:
		also = fmt.Sprintf(" (and likewise with %d other routes)", others)
	}
	return fmt.Sprintf("%s is to go through %s, and the kernel sends what is for %s %s, since another rule or route comes first: ip %s route get %s; ip %s rule%s",
		w.Prefix, link, w.Addr, where, family, w.Addr, family, also)
}

// findAstray comes last. Before steps that change the ways, what the kernel says
// now says nothing.
func findAstray(p *planner) {
	if steers(p) {
		return
	}
	for _, found := range p.plan.Astray(p.state.Ways) {
		p.find("%s", found)
	}
}

func steers(p *planner) bool {
	return slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.Change.traits().steers })
}

// findUnrouted finds peers to none of whose addresses this host has a way: what is sent
// there is not even counted as sent. When the interface is gone, our own rules refuse
// the question, which comes without the mark of the encrypted packets.
func findUnrouted(p *planner) {
	if up := p.state.Link != nil; len(p.state.Unrouted) == 0 || up && steers(p) || !up && keepsRules(p) {
		return
	}
	var lost []string
	var first netip.Addr
	live := liveEndpoints(p)
	for i := range p.view.Peers {
		peer := &p.view.Peers[i]
		if peer.Endpoint == "" {
			continue
		}
		addrs := slices.DeleteFunc(addressesOf(p, peer, live), func(a netip.Addr) bool { return !a.IsValid() })
		routed := slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !p.state.Unrouted[a] })
		if routed || len(addrs) == 0 {
			continue
		}
		if lost == nil {
			first = addrs[0]
		}
		lost = append(lost, fmt.Sprintf("%s at %s", peer.Name, addrs[0]))
	}
	if lost != nil {
		p.find("nothing can be sent to %s, OUTSIDE: this host has no route there, or one that leads nowhere: %s",
			firstOf(lost), routeGet(p, first))
	}
}

// findLooped finds peers whose encrypted packets somebody else's route, or rule, leads into
// the tunnel itself: WireGuard drops them, and counts none as sent.
func findLooped(p *planner) {
	if p.state.Link == nil || len(p.state.Looped) == 0 || steers(p) {
		return
	}
	var lost []string
	var first netip.Addr
	live := liveEndpoints(p)
	for i := range p.view.Peers {
		peer := &p.view.Peers[i]
		at := live[peer.PublicKey]
		if peer.Endpoint == "" || !p.state.Looped[at] || isInside(p.view, at) {
			continue // who strayed comes back with a step of the plan
		}
		if lost == nil {
			first = at
		}
		lost = append(lost, fmt.Sprintf("%s at %s", peer.Name, at))
	}
	if lost != nil {
		p.find("nothing is sent to %s, OUTSIDE: a route or rule that is not wgkeys' leads there through %s itself: %s",
			firstOf(lost), p.view.Tunnel, routeGet(p, first))
	}
}

// findCircles finds peers whose encrypted packets are routed into another tunnel, and that
// one's into this one.
func findCircles(p *planner) {
	if p.state.Link == nil || len(p.state.Circles) == 0 || steers(p) {
		return
	}
	live := liveEndpoints(p)
	for i := range p.view.Peers {
		peer := &p.view.Peers[i]
		at := live[peer.PublicKey]
		c, ok := p.state.Circles[at]
		if peer.Endpoint == "" || !ok {
			continue
		}
		p.find("nothing is sent to %s at %s, OUTSIDE: it is routed into %s, and what %s sends to %s, OUTSIDE, into %s again; "+
			"take that out of the routes of %s, or give it a route of its own past the tunnels", peer.Name, at,
			strings.Join(c.Through, ", that into "), c.Through[len(c.Through)-1], c.To, p.view.Tunnel, p.view.Tunnel)
		return
	}
}

// findTranslated finds peers at IPv4 addresses whose encrypted packets leave as IPv6, which the
// tunnel takes: they carry no mark any more.
func findTranslated(p *planner) {
	all := slices.ContainsFunc(p.view.Routes, func(r tunnel.Route) bool {
		return r.Prefix.Addr().Is6() && r.Prefix.Bits() < wide
	})
	if !all || normalTable(p.view.Table) != 0 || len(p.state.Translated) == 0 {
		return
	}
	live := liveEndpoints(p)
	for i := range p.view.Peers {
		peer := &p.view.Peers[i]
		at := cmp.Or(live[peer.PublicKey], literal(peer), p.state.Endpoints[peer.Endpoint].Addr.Addr())
		if by := p.state.Translated[at]; by != "" && peer.Endpoint != "" {
			p.find("nothing gets to %s at %s, OUTSIDE: %s makes IPv6 of what is sent there (464XLAT), and all IPv6 goes into %s. "+
				"Write an IPv6 address of %s, or what NAT64 has for this one, as endpoint under [hosts.%s.peer.%s]", peer.Name, at, by,
				p.view.Tunnel, peer.Name, p.view.Host, peer.Name)
			return
		}
	}
}

// Lost tells of peers to which nothing is sent, by what the kernel says once the steps are
// taken: their packets are routed into tunnels without an end.
func Lost(view *tunnel.View, state *State) []string {
	p := &planner{view: view, state: dropInside(view, state), plan: &Plan{Tunnel: view.Tunnel}}
	findLooped(p)
	findCircles(p)
	return p.plan.Findings
}

// findMaster finds that the link belongs to a VRF: what comes from the tunnel is looked up in
// the table of that, which has the tunnel's routes only if table says so.
func findMaster(p *planner) {
	if p.state.Master != "" && normalTable(p.view.Table) == 0 {
		p.find("%s belongs to %s: what comes from the tunnel is routed by the table of %s, which has none of its routes: "+
			"ip link set %s nomaster, or write table = N, the table of %s, under [hosts.%s]", p.view.Tunnel, p.state.Master,
			p.state.Master, p.view.Tunnel, p.state.Master, p.view.Host)
	}
}

// firstOf lists the first peers.
func firstOf(peers []string) string {
	const shown = 3
	if n := len(peers); n > shown {
		peers = append(peers[:shown:shown], fmt.Sprintf("%d more", n-shown))
	}
	return strings.Join(peers, ", ")
}

// routeGet is the command that shows how encrypted packets are routed. Rules may look at
// their mark and ports.
func routeGet(p *planner, to netip.Addr) string {
	command := fmt.Sprintf("ip %s route get %s", Route{Prefix: netip.PrefixFrom(to, 0)}.family(), to)
	if mark := p.state.Device.FwMark; mark != 0 {
		command += fmt.Sprintf(" mark %#x", mark)
	}
	command += " ipproto udp"
	if own := p.state.Device.ListenPort; own != 0 {
		command += fmt.Sprintf(" sport %d", own)
	}
	if port := portAt(p, to); port != 0 {
		command += fmt.Sprintf(" dport %d", port)
	}
	return command
}

// portAt is the port of the first peer at an address, OUTSIDE.
func portAt(p *planner, addr netip.Addr) int {
	for i := range p.state.Peers {
		if e := p.state.Peers[i].Endpoint; e.Addr() == addr {
			return int(e.Port())
		}
	}
	for i := range p.view.Peers {
		for _, e := range p.view.Peers[i].Endpoints() {
			if a, err := netip.ParseAddrPort(e); err == nil && a.Addr() == addr {
				return int(a.Port())
			}
		}
	}
	return 0
}

func keepsRules(p *planner) bool {
	return slices.ContainsFunc(p.state.Rules, func(r Rule) bool { return p.isMine(RuleChange{Rule: r}.Resource()) })
}

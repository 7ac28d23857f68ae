package apply

import (
	"maps"
	"slices"
	"strings"

	"wgkeys/deploy/apply/journal"
)

// keepAdvertisements secures the routes learned from router advertisements, and
// those to come, before forwarding.
//
// ipv6_accept_ra() reads only the interface's own value, and a router accepts
// advertisements only where it is 2; turning forwarding on purges the default
// routes learned from them everywhere else. So every interface that accepts them
// now goes on doing so: an uplink may have learned no default route yet (at boot
// apply comes before the first advertisement), or be another's backup. Where the
// host becomes no router as a whole, the others have only their routes to lose.
func (p *forwarding) keepAdvertisements() {
	if !p.purges() {
		return
	}
	uplinks := map[string]Uplink{}
	for _, u := range p.uplinks() {
		uplinks[u.Name] = u
		if u.RA && p.now[acceptRA(u.Name)] == "0" {
			p.note("%s", whoAdvertises(u, p.state.Managers))
		}
	}
	for _, name := range p.listening() {
		u, ok := uplinks[name]
		if !ok {
			u.Name = name
		}
		if !p.makesRouter() && !u.RA && !p.proxiesRoute(name) {
			continue
		}
		if e := p.mine.Entries[journal.Sysctl.Of(acceptRA("default"))]; p.now[acceptRA(name)] == "2" && e.Was == "1" &&
			p.cameLater(name) {
			p.step(ShareChange{acceptRA(name), e.Was, e.Set}, "%s came while the default was ours", name)
		}
		p.set(acceptRA(name), "2", "%s", whyAdvertisements(u))
	}
}

// hearAdvertisementsAgain is for a host that learned its routes from router advertisements
// until somebody else made it a router, as a program for containers does when it starts:
// its addresses show what it listened to, and no default route is left. A router that
// was one before has its default route from elsewhere. What it learns stays after down
// until it expires, as any advertised route does.
func (p *forwarding) hearAdvertisementsAgain() {
	if !forwards6(p.planner) || !p.forces() {
		return
	}
	left := slices.ContainsFunc(p.uplinks(), func(u Uplink) bool { return u.IPv6 })
	for _, link := range p.state.Learned {
		key := acceptRA(link)
		ignored := p.now[key] == "1" && p.forwarded(link) && !left
		if ignored || p.hearsAgain(link) {
			p.set(key, "2", "%s has its address from router advertisements, which it ignores since somebody made "+
				"this host a router; the next one brings its default route back", link)
		}
	}
}

// hearsAgain reports whether an interface does so because of that.
func (p *forwarding) hearsAgain(link string) bool {
	return forwards6(p.planner) && p.forces() && p.forwarded(link) && p.isMine(journal.Sysctl.Of(acceptRA(link)))
}

// cameLater reports whether an interface was not there yet when the tunnel made
// the host a router, which touches the forwarding of each.
func (p *forwarding) cameLater(link string) bool {
	return !p.isMine(journal.Sysctl.Of(acceptRA(link))) && !p.isMine(journal.Sysctl.Of(forwardingOf(link)))
}

// listening are the interfaces that accept router advertisements, uplinks
// first. A bridge listens for its ports.
func (p *forwarding) listening() []string {
	var links, others []string
	for _, u := range p.uplinks() {
		if p.accepts(u.Name) {
			links = append(links, u.Name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.now)) {
		name, ok := strings.CutSuffix(strings.TrimPrefix(key, interfaces6), "/accept_ra")
		special := name == "lo" || name == "all" || name == "default" || name == p.view.Tunnel ||
			slices.Contains(p.state.Ports, name)
		if ok && !special && p.now[key] != "2" && p.accepts(name) && !slices.Contains(links, name) {
			others = append(others, name)
		}
	}
	return append(links, others...)
}

func whyAdvertisements(u Uplink) string {
	switch {
	case u.RA:
		return u.Name + " has its default route from router advertisements, and forwarding would drop it"
	case !u.IPv6:
		return u.Name + " may yet learn its default route from router advertisements, which a router ignores"
	}
	return u.Name + " is an uplink: keep accepting router advertisements while forwarding"
}

// whoAdvertises says who handles router advertisements where the kernel does
// not, and what to set there: not every program goes on doing so on a router.
func whoAdvertises(u Uplink, managers []string) string {
	s := u.Name + " has its default route from router advertisements that another program handles (accept_ra=0), which is left alone"
	if slices.Contains(managers, Networkd) {
		s += "; if that is systemd-networkd: set IPv6AcceptRA=yes in the .network file of " + u.Name +
			", since its default is no where the host forwards (systemd.network(5))"
	}
	if slices.Contains(managers, NetworkManager) {
		s += "; if that is NetworkManager: it goes on accepting them"
	}
	return s
}

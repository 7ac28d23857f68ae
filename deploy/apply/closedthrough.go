package apply

import (
	"fmt"
	"net/netip"
	"slices"

	"wgkeys/deploy/apply/firewall"
	"wgkeys/deploy/tunnel"
)

// closedThrough finds what peers are to reach through this host and do not: networks of virtual
// machines and of containers, of which their own programs let out what comes from there and let
// in only the answers. A network that is a part of what the tunnel file says may be closed on
// purpose: that is a note.
func closedThrough(p *planner, found []obstacle) []obstacle {
	families := forwardedFamilies(p)
	for _, to := range p.state.Through {
		if to.Unrouted || !slices.Contains(families, familyThrough(to)) || goesElsewhere(p, to) {
			continue
		}
		in, answers := wayThrough(p, to), answersThrough(p, to)
		before := len(found)
		for _, w := range []way{in, answers} {
			if drop := dropOfBoth(p, w.packet, w.hooks); drop != nil {
				found = hinder(p, found, w, drop)
			}
		}
		if found = closedDirectly(p, found, in); to.Part {
			for _, o := range found[before:] {
				p.note("%s", o)
			}
			found = found[:before]
		}
	}
	return found
}

func familyThrough(to Reached) firewall.Family {
	if to.Prefix.Addr().Is4() {
		return firewall.IPv4
	}
	return firewall.IPv6
}

// goesElsewhere reports whether what peers send there may get another destination: a prefix may
// be another name for a network.
func goesElsewhere(p *planner, to Reached) bool {
	return p.state.Firewall.Translates(packetThrough(p, to))
}

func packetThrough(p *planner, to Reached) firewall.Packet {
	inside, _ := insidePrefix(p, familyThrough(to))
	return firewall.Packet{Family: familyThrough(to), In: tunnelLink(p), Source: inside, Dest: to.Prefix,
		Out: firewall.Link{Name: to.Link, Index: to.Index}, Remote: true, Direct: true}
}

func wayThrough(p *planner, to Reached) way {
	family, link, wide := familyThrough(to), tunnelLink(p), anythingFrom(p.view.Tunnel)
	return way{
		packet: packetThrough(p, to), hooks: through,
		what: fmt.Sprintf("%s from the tunnel to %s on %s", spelledFamily(family), to.Prefix, to.Link),
		accept: accept{fmt.Sprintf("iifname %s oifname %s", nftName(link.Name), nftName(to.Link)),
			fmt.Sprintf("-i %s -o %s", link.Name, to.Link),
			fmt.Sprintf("route allow in on %s out on %s", link.Name, to.Link)},
		early: &accept{open: fmt.Sprintf("iifname %s %s daddr %s", nftName(link.Name), family, to.Prefix),
			tables: fmt.Sprintf("-i %s -d %s", link.Name, to.Prefix)},
		wide: &wide,
	}
}

func answersThrough(p *planner, to Reached) way {
	family, link, wide := familyThrough(to), tunnelLink(p), answersTo(p.view.Tunnel)
	inside, _ := insidePrefix(p, family)
	return way{
		packet: firewall.Packet{Family: family, In: firewall.Link{Name: to.Link, Index: to.Index}, Out: link,
			Source: to.Prefix, Dest: inside, Answer: true}, hooks: through,
		what: fmt.Sprintf("%s answers from %s on %s to the tunnel", spelledFamily(family), to.Prefix, to.Link),
		accept: accept{
			fmt.Sprintf("iifname %s oifname %s ct state established,related", nftName(to.Link), nftName(link.Name)),
			fmt.Sprintf("-i %s -o %s -m conntrack --ctstate ESTABLISHED,RELATED", to.Link, link.Name),
			fmt.Sprintf("route allow in on %s out on %s", to.Link, link.Name)},
		wide: &wide,
	}
}

func tunnelLink(p *planner) firewall.Link {
	return firewall.Link{Name: p.view.Tunnel, Index: p.state.LinkIndex}
}

// closedDirectly finds single addresses to which nothing may be sent but by the link that they
// are on: of a container that publishes ports Docker drops all that does not come by these.
func closedDirectly(p *planner, found []obstacle, w way) []obstacle {
	before := []firewall.Hook{firewall.Ingress, firewall.Prerouting}
	network := w.packet.Dest
	for _, a := range p.state.Firewall.Named(network) {
		w.packet.Dest = netip.PrefixFrom(a, a.BitLen())
		drop, other, same := dropOfBoth(p, w.packet, before), w.packet, w.packet
		other.In, same.In = firewall.Link{Name: "?", Index: -1}, w.packet.Out
		if drop == nil || dropOfBoth(p, other, before) == nil || dropOfBoth(p, same, before) != nil {
			continue
		}
		w.what = fmt.Sprintf("%s from the tunnel to %s on %s", spelledFamily(w.packet.Family), a, w.packet.Out.Name)
		found = hinder(p, found, w, drop)
	}
	return found
}

// A maker is a program that makes networks, and chains for them.
type maker int

const (
	nobody maker = iota // that is known here
	libvirt
	docker
)

// makerOf is whose rules drop a packet.
func makerOf(rules *firewall.Ruleset, d *firewall.Drop) maker {
	by := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return rules.DropsBy(d, name) })
	}
	switch c := d.Chain; {
	case c.Table == "libvirt_network" || by("LIBVIRT_FWI", "LIBVIRT_FWO"):
		return libvirt
	case c.Table == "docker-bridges" || by("DOCKER", "DOCKER-FORWARD"),
		c.Hook == firewall.Prerouting && hasDocker(rules):
		return docker
	}
	return nobody
}

func hasDocker(rules *firewall.Ruleset) bool {
	return slices.ContainsFunc(rules.Chains, func(c firewall.Chain) bool { return c.Name == "DOCKER-USER" })
}

// keeping says how to keep a rule: most firewalls have a file of their own, and some programs
// make their rules again.
func keeping(p *planner, d *firewall.Drop) string {
	switch by := makerOf(&p.state.Firewall, d); {
	case by == libvirt:
		return ", and for good in /etc/libvirt/hooks/network; or give that network of libvirt's <forward mode='open'/>"
	case by == docker && d.Chain.Hook == firewall.Prerouting:
		return `, and for good "allow-direct-routing": true in /etc/docker/daemon.json, from Docker 28.2 on`
	case by == docker && d.Chain.Table == "docker-bridges":
		return ", and for good make that network of Docker's with gateway_mode_ipv4=nat-unprotected"
	}
	return ", and keep that where this firewall is configured"
}

// findUnreached finds that this host has no way to what peers are to reach through it.
func findUnreached(p *planner) {
	for _, to := range p.state.Through {
		if to.Unrouted && !goesElsewhere(p, to) {
			p.find("nothing that peers send to %s through this host gets there: it has no route to it: ip %s route get %s",
				to.Prefix, Route{Prefix: to.Prefix}.family(), to.Addr)
		}
	}
}

// findRefused finds that this host takes nothing from a peer for other networks.
func findRefused(p *planner) {
	var from netip.Addr
	var networks []string
	for _, to := range p.state.Through {
		if to.Refused.IsValid() && !goesElsewhere(p, to) {
			from, networks = to.Refused, append(networks, to.Prefix.String())
		}
	}
	if networks == nil || p.state.Link == nil || !p.state.Link.Up || steers(p) {
		return
	}
	p.find("this host drops what comes from %s through %s for %s, since it sends what is for %s elsewhere (rp_filter): "+
		"ip -4 route get %s", from, p.view.Tunnel, firstOf(networks), from, from)
}

// noteOneUplink tells of uplinks by which peers that come to this host do not get in: packets go
// to the internet by another one, and rp_filter is strict. They may all come by that.
func noteOneUplink(p *planner) {
	if !slices.ContainsFunc(p.view.Peers, func(q tunnel.Peer) bool { return q.Endpoint == "" }) {
		return
	}
	uplinks := p.uplinks()
	for _, u := range uplinks {
		if u.Refuses == "" || !slices.ContainsFunc(uplinks, func(o Uplink) bool { return o.Name == u.Refuses }) {
			continue
		}
		key := sysctlName("net/ipv4/conf/" + u.Name + "/rp_filter")
		p.note("what comes from the internet by %s is dropped, since this host sends what is for there by %s (rp_filter): peers reach it by %[2]s alone. "+
			"By %[1]s as well: sysctls = { %[3]q = 2 } under [hosts.%[4]s]", u.Name, u.Refuses, key, p.view.Host)
	}
}

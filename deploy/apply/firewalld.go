package apply

import (
	"fmt"
	"slices"
	"strings"

	"wgkeys/deploy/apply/firewall"
)

// firewalldRule is what opens a way in the words of firewall-cmd(1), and what else to say
// of that. A rule of nft(8) or iptables(8) in a chain of firewalld's would be gone at its
// next reload. It is nothing where the chain is another program's.
func firewalldRule(p *planner, d *firewall.Drop) (rule, then string) {
	if d.Chain.Table == firewall.PanicTable {
		return "firewall-cmd --panic-off", ""
	}
	in := d.Packet.In
	zone := p.state.Firewall.Zone(d.Chain, in)
	comes := d.Chain.Hook == firewall.Input && d.Packet.DestPort != 0 && !d.Packet.Answer
	switch {
	case zone == "" && d.Chain.Table != firewall.FirewalldTable:
		return "", ""
	case zone != "" && comes:
		return firewallCmd(fmt.Sprintf("--zone=%s --add-port=%d/udp", zone, d.Packet.DestPort)), ""
	case zone != "" && d.Chain.Hook == firewall.Forward && in.Name == p.view.Tunnel:
		return forwardedByFirewalld(p, d, zone)
	}
	return "firewall-cmd --list-all-zones; firewall-cmd --list-all-policies shows it", ""
}

// firewallCmd makes a change now and for good. A reload would do for both, and would take
// with it what somebody has changed for now alone.
func firewallCmd(change string) string {
	return "firewall-cmd --permanent " + change + " && firewall-cmd " + change
}

// forwardedByFirewalld has what comes from the tunnel forwarded. If the tunnel is alone in
// its zone, which somebody has chosen, a policy does it, and peers reach no more of this host
// than before. If not, a policy would open the other interfaces of the zone as well, the
// uplink among them. An interface that is in no zone is treated as those of the default zone,
// but for policies: before firewalld 2 these know only which interfaces a zone lists.
func forwardedByFirewalld(p *planner, d *firewall.Drop, zone string) (rule, then string) {
	out, link := d.Packet.Out, p.view.Tunnel
	to := p.state.Firewall.Zone(d.Chain, out)
	switch {
	case zone == trusted:
		return "firewall-cmd --zone=trusted --list-all shows it", ""
	case !aloneInZone(p, d.Chain, zone):
		return firewallCmd("--zone=trusted --change-interface=" + link),
			", which opens this host's own services to the peers, too"
	case out.Name == link:
		return firewallCmd("--zone=" + zone + " --add-forward"), ""
	}
	then = ""
	if to == p.state.Firewall.Zone(d.Chain, inNoZone) {
		to, then = "ANY", ", which opens all networks of this host to the peers"
	}
	name := link + "-" + to
	name = name[:min(len(name), longestPolicy)]
	policy := " && firewall-cmd --permanent --policy=" + name
	return strings.Join([]string{"firewall-cmd --permanent --new-policy=" + name, " --add-ingress-zone=" + zone,
		" --add-egress-zone=" + to, " --set-target=ACCEPT"}, policy) + " && firewall-cmd --reload", then
}

const (
	trusted       = "trusted" // firewalld.zones(5): all is accepted
	longestPolicy = 17        // of a policy's name (firewalld.policy(5))
)

// aloneInZone reports whether no other interface is in the zone of the tunnel, nor one that
// is in none: those are in the default zone.
func aloneInZone(p *planner, c *firewall.Chain, zone string) bool {
	shares := func(i Interface) bool {
		return i.Name != p.view.Tunnel && p.state.Firewall.Zone(c, firewall.Link{Name: i.Name, Index: i.Index}) == zone
	}
	return p.state.Firewall.Zone(c, inNoZone) != zone && !slices.ContainsFunc(p.state.Interfaces, shares)
}

// inNoZone is an interface that nobody has put into a zone.
var inNoZone = firewall.Link{Name: "-"}

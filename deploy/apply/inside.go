package apply

import (
	"net/netip"

	"wgkeys/deploy/apply/firewall"
)

// closedInside finds that nothing that this host sends into the tunnel gets out, or that
// nothing from the tunnel for this host gets in, answers included. A router may be closed
// to its peers on purpose: of one only a rule that knows them by their addresses is found,
// which was not made for the tunnel.
func closedInside(p *planner) (found []obstacle) {
	for _, family := range []firewall.Family{firewall.IPv4, firewall.IPv6} {
		own := ownPrefix(p, family)
		peers, n := insidePrefix(p, family)
		if n == 0 || !own.IsValid() {
			continue
		}
		before := len(found)
		for _, w := range []way{intoTunnel(p, family, own, peers), outOfTunnel(p, family, own, peers)} {
			found = closedWay(p, found, w)
		}
		// Where the peers may be anything, most of it may pass, and what does not be their own
		// addresses.
		if at := addressesInside(p, family); len(found) == before && !peers.IsValid() && at.IsValid() {
			into, out := intoTunnel(p, family, own, at), outOfTunnel(p, family, own, at)
			into.what = "what this host sends to the peers' addresses in " + at.String() + ", INSIDE"
			out.what = "what comes from the peers' addresses in " + at.String() + ", INSIDE, to this host"
			found = closedWay(p, closedWay(p, found, into), out)
		}
	}
	return found
}

func closedWay(p *planner, found []obstacle, w way) []obstacle {
	drop := dropOfAll(p, w)
	if drop == nil || p.view.Forward && !byAddress(p, w) {
		return found
	}
	return hinder(p, found, w, drop)
}

// addressesInside is the shortest prefix that contains all single addresses that the peers
// are allowed: their own ones.
func addressesInside(p *planner, family firewall.Family) (common netip.Prefix) {
	for i := range p.view.Peers {
		for _, prefix := range p.view.Peers[i].AllowedIPs {
			if prefix.IsSingleIP() && prefix.Addr().Is4() == (family == firewall.IPv4) {
				common = widened(common, prefix)
			}
		}
	}
	if common.Bits() <= 0 {
		return netip.Prefix{}
	}
	return common
}

// byAddress reports whether packets of a way from the tunnel are dropped because of their
// source, by whatever interface they come.
func byAddress(p *planner, w way) bool {
	if w.leaving || w.packet.In == (firewall.Link{}) {
		return false
	}
	w.packet.In = firewall.Link{Name: "?", Index: -1} // no interface has that name, or number
	if dropOfAll(p, w) == nil {
		return false
	}
	w.packet.Source = netip.Prefix{}
	return dropOfAll(p, w) == nil
}

// ownPrefix is the shortest that contains all of the host's addresses of a family, INSIDE.
func ownPrefix(p *planner, family firewall.Family) (common netip.Prefix) {
	for _, a := range p.view.Addresses {
		if a.Addr().Is4() == (family == firewall.IPv4) {
			common = widened(common, netip.PrefixFrom(a.Addr(), a.Addr().BitLen()))
		}
	}
	return common
}

// dropOfAll is where packets of a way are dropped for every protocol, both the first of a
// connection and later ones.
func dropOfAll(p *planner, w way) (last *firewall.Drop) {
	icmp := map[firewall.Family]byte{firewall.IPv4: protocolICMP, firewall.IPv6: protocolICMPv6}[w.packet.Family]
	for _, protocol := range []byte{protocolTCP, protocolUDP, icmp} {
		for _, answer := range []bool{false, true} {
			packet := w.packet
			packet.Protocol, packet.Answer = protocol, answer
			if last = p.state.Firewall.Drops(packet, w.hooks...); last == nil {
				return nil
			}
		}
	}
	return last
}

func intoTunnel(p *planner, family firewall.Family, own, peers netip.Prefix) way {
	link := firewall.Link{Name: p.view.Tunnel, Index: p.state.LinkIndex}
	w := way{
		packet: firewall.Packet{Family: family, Out: link, Source: own, Dest: peers}, hooks: outOf,
		what:   "all that this host sends into the tunnel over " + spelledFamily(family),
		accept: accept{"oifname " + nftName(link.Name), "-o " + link.Name, "allow out on " + link.Name},
	}
	w.late = &w.accept
	return w
}

func outOfTunnel(p *planner, family firewall.Family, own, peers netip.Prefix) way {
	link := firewall.Link{Name: p.view.Tunnel, Index: p.state.LinkIndex}
	return way{
		packet: firewall.Packet{Family: family, In: link, Source: peers, Dest: own, Answer: true, Local: true}, hooks: into,
		what: "all that comes from the tunnel to this host over " + spelledFamily(family),
		accept: accept{"iifname " + nftName(link.Name) + " ct state established,related",
			"-i " + link.Name + " -m conntrack --ctstate ESTABLISHED,RELATED", "allow in on " + link.Name},
		early: &accept{open: "iifname " + nftName(link.Name), tables: "-i " + link.Name},
	}
}

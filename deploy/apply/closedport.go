package apply

import (
	"fmt"
	"slices"

	"wgkeys/deploy/apply/firewall"
	"wgkeys/deploy/tunnel"
)

// closedPort finds that no packet of a peer reaches the tunnel's port, or that no answer
// leaves it, if the port has to be open because peers come to us. If it is closed to one
// address family only, that may be on purpose: it is reported if a peer is expected, or all
// came by the other family, and no rule opens this port to the first.
func closedPort(p *planner) (found []obstacle) {
	if p.view.ListenPort == 0 || !slices.ContainsFunc(p.view.Peers, func(q tunnel.Peer) bool { return q.Endpoint == "" }) {
		return nil
	}
	return slices.Concat(closedPortWay(p, portWay), closedPortWay(p, backWay))
}

func closedPortWay(p *planner, make func(*planner, firewall.Family) way) (found []obstacle) {
	tell := true
	for _, family := range []firewall.Family{firewall.IPv4, firewall.IPv6} {
		w := make(p, family)
		drops, links := dropsOf(p, w)
		if len(drops) < links { // peers may come by the other family
			own := &w.packet.DestPort
			if w.leaving {
				own = &w.packet.SrcPort
			}
			*own = *own%0xffff + 1
			others, _ := dropsOf(p, w)
			tell = (awaitsPeer(p) || !comesBy(p, family)) && len(others) == len(drops)
			continue
		}
		for _, drop := range drops {
			if !drop.Moved || !comesRelayed(p) {
				found = hinder(p, found, w, drop)
			}
		}
	}
	if !tell {
		return nil
	}
	return found
}

// comesRelayed reports whether a peer comes through another program of this host, to which
// its packets are sent on purpose.
func comesRelayed(p *planner) bool {
	live := liveEndpoints(p)
	return slices.ContainsFunc(p.view.Peers, func(q tunnel.Peer) bool {
		a := live[q.PublicKey]
		return a.IsLoopback() || slices.Contains(p.state.Firewall.Local, a)
	})
}

// dropsOf returns where packets are dropped that come in, or go out, by the interfaces by
// which peers may come, and the number of those interfaces.
func dropsOf(p *planner, w way) (drops []*firewall.Drop, links int) {
	arriving := arrivingLinks(p, w.packet.Family)
	for _, link := range arriving {
		if w.leaving {
			w.packet.Out = link
		} else {
			w.packet.In = link
		}
		if drop := p.state.Firewall.Drops(w.packet, w.hooks...); drop != nil {
			drops = append(drops, drop)
		}
	}
	return drops, len(arriving)
}

func portWay(p *planner, family firewall.Family) way {
	port := p.view.ListenPort
	return way{
		packet: firewall.Packet{Family: family, Protocol: protocolUDP, DestPort: port, Local: true}, hooks: into,
		what: fmt.Sprintf("what peers send to UDP port %d, OUTSIDE, over %s", port, spelledFamily(family)),
		accept: accept{fmt.Sprintf("udp dport %d", port), fmt.Sprintf("-p udp --dport %d", port),
			fmt.Sprintf("allow %d/udp", port)},
	}
}

// backWay is the way of packets to peers that come to us.
func backWay(p *planner, family firewall.Family) way {
	port := p.view.ListenPort
	w := way{
		packet: firewall.Packet{Family: family, Protocol: protocolUDP, SrcPort: port, Answer: true,
			Mark: sentMark(p, family), Remote: true},
		hooks: outOf,
		what:  fmt.Sprintf("what is sent back to peers from UDP port %d, OUTSIDE, over %s", port, spelledFamily(family)),
		accept: accept{fmt.Sprintf("udp sport %d", port), fmt.Sprintf("-p udp --sport %d", port),
			fmt.Sprintf("allow out proto udp from any port %d", port)},
	}
	w.late, w.leaving = &w.accept, true
	return w
}

// awaitsPeer reports whether a peer that has to come to us never did.
func awaitsPeer(p *planner) bool {
	live := liveEndpoints(p)
	return slices.ContainsFunc(p.view.Peers, func(q tunnel.Peer) bool {
		return q.Endpoint == "" && !live[q.PublicKey].IsValid()
	})
}

// comesBy reports whether a peer that has to come to us last came by this family.
func comesBy(p *planner, family firewall.Family) bool {
	live := liveEndpoints(p)
	return slices.ContainsFunc(p.view.Peers, func(q tunnel.Peer) bool {
		a := live[q.PublicKey]
		return q.Endpoint == "" && a.IsValid() && a.Is4() == (family == firewall.IPv4)
	})
}

// arrivingLinks are the interfaces by which peers may come: the uplinks, or if there are none,
// all with an address except other tunnels. An uplink may be a tunnel that is not WireGuard.
func arrivingLinks(p *planner, family firewall.Family) []firewall.Link {
	var uplinks, others []firewall.Link
	for _, i := range p.state.Interfaces {
		if !hasFamily(family, i.IPv4, i.IPv6) || i.Name == p.view.Tunnel || i.Kind == "wireguard" {
			continue
		}
		link := firewall.Link{Name: i.Name, Index: i.Index}
		switch {
		case slices.ContainsFunc(p.uplinks(), func(u Uplink) bool { return u.Name == i.Name }):
			uplinks = append(uplinks, link)
		case i.Kind != "tun" && i.Kind != "tuntap":
			others = append(others, link)
		}
	}
	if uplinks != nil {
		return uplinks
	}
	return others
}

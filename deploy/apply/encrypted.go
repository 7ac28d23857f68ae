package apply

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"wgkeys/deploy/apply/firewall"
)

// A far is where encrypted packets are sent: an address family and a port. Ten thousand
// peers have few of them.
type far struct {
	family firewall.Family
	port   int
}

// closedOut finds that nothing that is sent to a peer leaves this host, or that no answer
// to it gets in. A packet that is dropped on its way out is not even counted as sent.
func closedOut(p *planner) (found []obstacle) {
	fars := farsOf(p)
	for _, f := range fars {
		for _, w := range []way{sentWay(p, f), answerWay(p, f)} {
			drops, links := dropsOf(p, w)
			if len(drops) < links {
				continue
			}
			for _, drop := range drops {
				found = hinder(p, found, w, drop)
			}
		}
	}
	return found
}

// farsOf returns the OUTSIDE addresses of peers: as the device has them, or as the tunnel file
// says.
func farsOf(p *planner) (list []far) {
	add := func(a netip.AddrPort) {
		if !a.IsValid() {
			return
		}
		f := far{firewall.IPv6, int(a.Port())}
		if a.Addr().Unmap().Is4() {
			f.family = firewall.IPv4
		}
		if !slices.Contains(list, f) {
			list = append(list, f)
		}
	}
	live := make(map[string]netip.AddrPort, len(p.state.Peers))
	for _, q := range p.state.Peers {
		live[q.PublicKey.String()] = q.Endpoint
	}
	for i := range p.view.Peers {
		if q := &p.view.Peers[i]; q.Endpoint != "" {
			known, _ := netip.ParseAddrPort(q.Endpoint)
			if now := live[q.PublicKey.String()]; now.IsValid() {
				known = now
			}
			add(known)
		}
	}
	slices.SortFunc(list,
		func(a, b far) int { return cmp.Or(cmp.Compare(a.family, b.family), cmp.Compare(a.port, b.port)) })
	const most = 16 // with more of them it is a hub, whose port is checked
	return list[:min(most, len(list))]
}

func sentWay(p *planner, f far) way {
	w := way{
		packet: firewall.Packet{Family: f.family, Protocol: protocolUDP, SrcPort: listenPort(p), DestPort: f.port,
			Mark: sentMark(p, f.family), Remote: true},
		hooks: outOf, leaving: true,
		what: fmt.Sprintf("what is sent to peers at UDP port %d, OUTSIDE, over %s", f.port, spelledFamily(f.family)),
		accept: accept{fmt.Sprintf("udp dport %d", f.port), fmt.Sprintf("-p udp --dport %d", f.port),
			fmt.Sprintf("allow out %d/udp", f.port)},
	}
	w.late = &w.accept
	return w
}

// sentMark is the mark of encrypted packets when they are sent. Where policy routing
// looks for it, with another one they would go into the tunnel themselves.
func sentMark(p *planner, family firewall.Family) *firewall.Mark {
	m := firewall.Mark{Value: wantDevice(p).FwMark}
	if c := p.policyRouting; hasFamily(family, c.ipv4, c.ipv6) {
		m.Mask = cmp.Or(c.mark.Mask, ^uint32(0))
	}
	return &m
}

func answerWay(p *planner, f far) way {
	return way{
		packet: firewall.Packet{Family: f.family, Protocol: protocolUDP, SrcPort: f.port, DestPort: listenPort(p),
			Answer: true, Local: true}, hooks: into,
		what: fmt.Sprintf("answers of peers at UDP port %d, OUTSIDE, over %s", f.port, spelledFamily(f.family)),
		accept: accept{"ct state established,related", "-m conntrack --ctstate ESTABLISHED,RELATED",
			fmt.Sprintf("allow proto udp from any port %d", f.port)},
		early: &accept{open: fmt.Sprintf("udp sport %d", f.port), tables: fmt.Sprintf("-p udp --sport %d", f.port)},
	}
}

// listenPort is the tunnel's port, if it is known.
func listenPort(p *planner) int { return cmp.Or(p.view.ListenPort, p.state.Device.ListenPort) }

package apply

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"wgkeys/deploy/apply/firewall"
)

// A far is where encrypted packets are sent: a family, and a port there. Ten thousand
// peers have few of them.
type far struct {
	family firewall.Family
	port   int
}

// closedOut finds that nothing that is sent to a peer leaves this host, or that no
// answer to it gets in. Dropped on its way out, a packet is not even counted as sent.
func (p *planner) closedOut() (found []obstacle) {
	fars := p.fars()
	for _, f := range fars {
		for _, w := range []way{p.sentWay(f), p.answerWay(f)} {
			drops, links := p.dropsOf(w)
			if len(drops) < links {
				continue
			}
			for _, drop := range drops {
				found = p.hinder(found, w, drop)
			}
		}
	}
	return found
}

// fars are the addresses of peers, OUTSIDE: as the device has them, or as the tunnel
// file says.
func (p *planner) fars() (list []far) {
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
			told, _ := netip.ParseAddrPort(q.Endpoint)
			if now := live[q.PublicKey.String()]; now.IsValid() {
				told = now
			}
			add(told)
		}
	}
	slices.SortFunc(list, func(a, b far) int { return cmp.Or(cmp.Compare(a.family, b.family), cmp.Compare(a.port, b.port)) })
	const most = 16 // who has more of them is a hub, whose port is looked at
	return list[:min(most, len(list))]
}

func (p *planner) sentWay(f far) way {
	return way{
		packet: firewall.Packet{Family: f.family, Protocol: protocolUDP, SrcPort: p.listens(), DestPort: f.port}, hooks: outOf, leaving: true,
		what: fmt.Sprintf("what is sent to peers at UDP port %d, OUTSIDE, over %s", f.port, spelledFamily(f.family)),
		open: fmt.Sprintf("udp dport %d", f.port), tables: fmt.Sprintf("-p udp --dport %d", f.port), ufw: fmt.Sprintf("allow out %d/udp", f.port),
	}
}

func (p *planner) answerWay(f far) way {
	return way{
		packet: firewall.Packet{Family: f.family, Protocol: protocolUDP, SrcPort: f.port, DestPort: p.listens(), Answer: true}, hooks: into,
		what: fmt.Sprintf("answers of peers at UDP port %d, OUTSIDE, over %s", f.port, spelledFamily(f.family)),
		open: "ct state established,related", tables: "-m conntrack --ctstate ESTABLISHED,RELATED", ufw: fmt.Sprintf("allow proto udp from any port %d", f.port),
	}
}

// listens is the tunnel's port, as far as it is known.
func (p *planner) listens() int { return cmp.Or(p.view.ListenPort, p.state.Device.ListenPort) }

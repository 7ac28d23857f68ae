package networkd

import (
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
)

// A settler decides what depends on several files of an interface.
type settler struct{ *parser }

func (p settler) settle() {
	if p.d.PrivateKeyFile != "" {
		p.d.PrivateKey = keyring.PrivateKey{} // networkd ignores PrivateKey= then
	}
	p.merge()
	for _, a := range p.addresses {
		if a.local.IsValid() {
			p.d.Addresses = append(p.d.Addresses, foreign.Address{Pos: a.at, Local: a.local, Remote: a.remote})
		}
	}
	p.routes = slices.DeleteFunc(p.routes, func(r route) bool { return r.drop })
	for i := range p.routes {
		p.checkRoute(&p.routes[i])
	}
	p.routesOfPeers()
	p.policy()
	for i := range p.routes {
		p.besideOthers(&p.routes[i])
	}
	p.assign()
	p.router()
	p.resolver()
}

// resolver checks that DNSDefaultRoute= agrees with the domains: "~." among them means that
// the tunnel's resolvers are asked for every name.
func (p settler) resolver() {
	yes, ok := p.truth(p.dnsDefault)
	if ok && yes != slices.Contains(p.d.DNS, "~.") {
		p.left(p.dnsDefault.at, "DNSDefaultRoute=", noResolver)
	}
}

// checkRoute refuses a route without a destination, which networkd ignores.
func (p settler) checkRoute(r *route) {
	if !r.dest.IsValid() && !r.gateway.IsValid() {
		p.Wrong(r.at, "write Destination=0.0.0.0/0 or ::/0",
			"the [Route] has neither a destination with an address nor a gateway")
	}
	if r.table.val == mainTable {
		r.table = number{}
	}
}

// routesOfPeers adds the routes that RouteTable= asks for (wireguard_verify in
// src/network/netdev/wireguard.c). networkd adds them to those of the .network, so without
// a .network there are none.
func (p settler) routesOfPeers() {
	for i := range p.peers {
		peer := &p.peers[i]
		if !peer.table.given {
			peer.table = p.table
		}
		if !peer.metric.given {
			peer.metric = p.prio
		}
		if peer.table.val == 0 || !p.matched {
			continue
		}
		for _, prefix := range peer.AllowedIPs {
			r := route{at: peer.Pos, dest: prefix, table: peer.table, metric: peer.metric, peer: i + 1}
			p.checkRoute(&r)
			p.routes = append(p.routes, r)
		}
	}
}

// besideOthers handles a default route in the main table to which no rule leads.
func (p settler) besideOthers(r *route) {
	if r.ruled || r.unled {
		return
	}
	same := foreign.Route{Prefix: r.prefix(), Gateway: r.nextHop(), Table: r.table.val, Metric: r.metric.val}
	if why := same.BesideOthers(); why != "" {
		p.left(r.at, same.Prefix.String(), why)
	}
	if same.Metric != r.metric.val {
		r.metric = number{same.Metric, true}
	}
}

// assign attributes routes to the peers whose allowed IPs they are, if all routes of the
// peer have the same table and metric as those of the other peers. The other routes are the
// device's.
func (p settler) assign() {
	d := p.d
	first := slices.IndexFunc(p.routes, func(r route) bool { return r.peer > 0 && !r.unled })
	if first >= 0 {
		d.Table, d.Metric = p.routes[first].table.val, p.routes[first].metric.val
	}
	apart := map[int]bool{}
	for _, r := range p.routes {
		if r.unled || r.table.val != d.Table || r.metric.val != d.Metric {
			apart[r.peer] = true
		}
	}
	for i, peer := range p.peers {
		peer.Routed = peer.table.val != 0 && p.matched && !apart[i+1]
		d.Peers = append(d.Peers, peer.Peer)
	}
	for _, r := range p.routes {
		if !r.unled && (r.peer == 0 || apart[r.peer]) {
			d.Routes = append(d.Routes, foreign.Route{Pos: r.at, Prefix: r.prefix(), Gateway: r.nextHop(),
				Table: r.table.val, Metric: r.metric.val, Source: r.source})
		}
	}
	if !slices.ContainsFunc(d.Peers, func(q foreign.Peer) bool { return q.Routed }) {
		d.Table, d.Metric = 0, 0
	}
}

// router decides on forwarding and masquerading, which a tunnel file has for both families
// together.
func (p settler) router() {
	inside := p.families()
	if p.forward != (families{}) {
		p.d.Forward = true
		p.bothFamilies(inside, p.forward, p.forwardAt, "Forwarding")
	}
	if p.masq != (families{}) {
		p.d.Forward, p.d.Masquerade.All = true, true
		p.bothFamilies(inside, p.masq, p.masqAt, "IPMasquerade=")
	}
}

func (p settler) bothFamilies(inside, said families, at foreign.Pos, what string) {
	if inside.ipv4 && !said.ipv4 || inside.ipv6 && !said.ipv6 {
		p.left(at, what, "it is for one family here, and for both in a tunnel file")
	}
}

// families returns the families that the tunnel carries.
func (p settler) families() (f families) {
	see := func(prefix netip.Prefix) {
		f.ipv4, f.ipv6 = f.ipv4 || prefix.Addr().Is4(), f.ipv6 || prefix.Addr().Is6()
	}
	for _, a := range p.d.Addresses {
		see(a.Local)
	}
	for _, peer := range p.peers {
		for _, prefix := range peer.AllowedIPs {
			see(prefix)
		}
	}
	return f
}

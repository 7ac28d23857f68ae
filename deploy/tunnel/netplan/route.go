package netplan

import (
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
)

// everywhere returns the destination of a default route.
func everywhere(ipv6 bool) netip.Prefix {
	if ipv6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// gateway reads gateway4 or gateway6, the deprecated keys for a default route.
func gateway(p *parser, e field) {
	if a := p.addr(e.value, e.key); a.IsValid() {
		r := foreign.Route{Pos: p.pos(e.at), Prefix: everywhere(a.Is6())}
		if !a.IsUnspecified() {
			r.Gateway = a
		}
		p.d.Routes = append(p.d.Routes, r)
	}
}

// mainTable is RT_TABLE_MAIN (rtnetlink(7)).
const mainTable = 254

// route reads an element of routes.
func (p *parser) route(n *yaml.Node) {
	r := foreign.Route{Pos: p.pos(n)}
	drop := false
	p.mapping(n, "routes", together(map[string]handler{
		"to": func(p *parser, e field) {
			if s := p.text(e.value, e.key); s != "default" {
				prefix, ok := p.Prefix(p.pos(e.value), e.key, s)
				if drop = !ok; ok {
					r.Prefix = prefix.Masked()
				}
			}
		},
		"via": func(p *parser, e field) {
			if a := p.addr(e.value, e.key); !a.IsUnspecified() {
				r.Gateway = a
			}
		},
		"metric": func(p *parser, e field) { r.Metric = p.number(e, foreign.Max32) },
		"table":  func(p *parser, e field) { r.Table = p.number(e, foreign.Max32) },
		"type": func(p *parser, e field) {
			if p.text(e.value, e.key) != "unicast" {
				drop = true
				p.left(e, e.key, "such a route does not lead into the interface")
			}
		},
		"scope": func(p *parser, e field) {
			if s := p.text(e.value, e.key); s != "link" && s != "global" {
				p.left(e, e.key, noOther)
			}
		},
		"from": func(p *parser, e field) {
			r.Source = foreign.Source{Left: foreign.Left{Pos: p.pos(e.at), What: e.key, Why: noOther}}
			r.Source.Addr, _ = netip.ParseAddr(p.text(e.value, e.key))
		},
		"on-link": ignore,
	}, each(left(noOther), "mtu", "congestion-window", "advertised-receive-window", "advertised-mss")))
	if r.Table == mainTable {
		r.Table = 0
	}
	switch {
	case drop:
		return
	case !r.Prefix.IsValid() && !r.Gateway.IsValid():
		p.Wrong(r.Pos, "write to: 0.0.0.0/0 or to: ::/0", "a default route without via is of no family")
		return
	case !r.Prefix.IsValid():
		r.Prefix = everywhere(r.Gateway.Is6())
	}
	p.d.Routes = append(p.d.Routes, r)
}

// ownMetric is NetworkManager's default metric for routes of a WireGuard interface.
const ownMetric = 50

// settle decides what depends on all files of a tunnel.
func (p *parser) settle(renderer string) {
	d := p.d
	if p.renderer != "" {
		renderer = p.renderer
	}
	p.merge(renderer == "NetworkManager")
	switch renderer {
	case "", "networkd":
		for i := range d.Routes {
			if why := d.Routes[i].BesideOthers(); why != "" {
				d.Left = append(d.Left, foreign.Left{Pos: d.Routes[i].Pos, What: d.Routes[i].Prefix.String(), Why: why})
			}
		}
	case "NetworkManager":
		p.networkManager()
	default:
		p.Wrong(d.Pos, "", "renderer is neither networkd nor NetworkManager")
	}
	if !p.keyed {
		p.Wrong(d.Pos, "", "the tunnel has no key, which netplan asks for")
	}
}

// networkManager adds what NetworkManager would: a route for each allowed IP, and a table
// of its own for a default route.
func (p *parser) networkManager() {
	d := p.d
	if d.PrivateKeyFile != "" {
		p.Wrong(p.keyFile, "renderer: networkd", "NetworkManager takes no key from a file: netplan refuses it")
	}
	carries := func(a netip.Prefix) bool { return !p.noRoutes && p.carries(a) }
	metric := ownMetric
	for _, q := range d.Peers {
		if slices.ContainsFunc(q.AllowedIPs, func(a netip.Prefix) bool { return a.Bits() == 0 && carries(a) }) {
			metric = 0
		}
	}
	apart := p.routedApart(carries, metric)
	for i := range d.Routes {
		if r := &d.Routes[i]; r.Metric == 0 {
			r.Metric = ownMetric
		}
	}
	d.Routes = append(apart, d.Routes...)
	if d.MTU != 0 {
		d.Left = append(d.Left, foreign.Left{Pos: d.Pos, What: "mtu",
			Why: "netplan writes it where NetworkManager does not look for a WireGuard interface's, in [ethernet]"})
	}
}

// routedApart decides which peers have a route for each allowed IP, of that metric, and returns
// the routes of the others.
func (p *parser) routedApart(carries func(netip.Prefix) bool, metric int) (apart []foreign.Route) {
	d := p.d
	for i := range d.Peers {
		q := &d.Peers[i]
		not := slices.ContainsFunc(q.AllowedIPs, func(a netip.Prefix) bool { return !carries(a) })
		q.Routed = len(q.AllowedIPs) > 0 && !not
		if q.Routed {
			d.Metric = metric
		}
		for _, a := range q.AllowedIPs {
			if !q.Routed && carries(a) {
				apart = append(apart, foreign.Route{Pos: q.Pos, Prefix: a, Metric: metric})
			}
		}
	}
	return apart
}

// carries reports whether NetworkManager adds routes of the family of a. Without an address
// or a route of that family, netplan writes method=ignore.
func (p *parser) carries(a netip.Prefix) bool {
	ipv4 := a.Addr().Is4()
	return slices.ContainsFunc(p.d.Addresses, func(b foreign.Address) bool { return b.Local.Addr().Is4() == ipv4 }) ||
		slices.ContainsFunc(p.d.Routes, func(r foreign.Route) bool { return r.Prefix.Addr().Is4() == ipv4 })
}

// merge keeps one of several peers with the same key, and one owner of a prefix: the last
// if last is set, as for NetworkManager, and the first otherwise, as for networkd (see
// package networkd).
func (p *parser) merge(last bool) {
	peers := p.d.Peers
	if last {
		slices.Reverse(peers)
	}
	owned, known := map[netip.Prefix]bool{}, map[keyring.PublicKey]bool{}
	peers = slices.DeleteFunc(peers, func(q foreign.Peer) bool {
		again := known[q.PublicKey]
		if again {
			p.d.Left = append(p.d.Left, foreign.Left{Pos: q.Pos, What: "peers", Why: "another one has the same key, and counts"})
		}
		known[q.PublicKey] = !q.PublicKey.IsZero()
		return again
	})
	for i := range peers {
		q := &peers[i]
		q.AllowedIPs = slices.DeleteFunc(q.AllowedIPs, func(a netip.Prefix) bool {
			again := owned[a]
			if again {
				p.d.Left = append(p.d.Left, foreign.Left{Pos: q.Pos, What: "allowed-ips",
					Why: a.String() + " is another peer's: the kernel gives a prefix to one"})
			}
			owned[a] = true
			return again
		})
	}
	if p.d.Peers = peers; last {
		slices.Reverse(peers)
	}
}

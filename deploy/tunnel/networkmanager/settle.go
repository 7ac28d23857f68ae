package networkmanager

import (
	"maps"
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel/foreign"
)

// ownMetric is NetworkManager's default metric for routes of a WireGuard interface
// (nm_device_get_route_metric_default).
const ownMetric = 50

// settle decides what depends on the whole file.
func (p *parser) settle() {
	d := p.d
	if d.Name == "" {
		p.Wrong(d.Pos, "interface-name=wg0, below [connection]",
			"[connection] has no interface-name, without which NetworkManager has no such profile")
	}
	if d.Description == d.Name {
		d.Description = ""
	}
	if d.PrivateKey.IsZero() {
		switch p.flags.value {
		case "1", "2":
			p.left(p.flags.at, p.flags.key, whereKey(p.flags.value))
		default:
			p.left(d.Pos, "private-key", "it is not in the file")
		}
	}
	for i := range p.ip {
		p.at = &p.ip[i]
		p.method(i == 1)
	}
	p.merge()
	p.routes()
	d.Forward = p.ip[0].forward || p.ip[1].forward
	for i := range p.ip {
		if s := &p.ip[i]; d.Forward && !s.forward && s.routed() {
			p.left(s.method.at, "forwarding", "it is for one family here, and for both in a tunnel file")
		}
	}
}

// method handles how a family gets its addresses: they are given, or there are none.
// NetworkManager refuses other methods ("is not supported for WireGuard",
// nm_connection_verify).
func (p *parser) method(ipv6 bool) {
	s := p.at
	if ipv6 && s.method.value == "link-local" { // NetworkManager 1.58.1 accepts it and adds the routes
		s.method.value = "manual"
	}
	switch s.method.value {
	case "manual":
	case "disabled":
		p.d.WithoutIPv6 = p.d.WithoutIPv6 || ipv6 && p.allows6()
		fallthrough
	case "", "ignore":
		if at, ok := s.first(); ok {
			p.Wrong(at, "method=manual", "there are addresses or routes, which NetworkManager refuses with this method")
		}
		return
	case "auto", "link-local", "shared", "dhcp":
		p.left(s.method.at, "method="+s.method.value, "NetworkManager refuses it for WireGuard, in which nobody gives out "+
			"addresses: taken as manual where there are addresses, and as disabled elsewhere")
	default:
		p.Wrong(s.method.at, "", "method: %s is none of manual, disabled, ignore", foreign.Shown(s.method.value))
	}
	p.d.Addresses = append(p.d.Addresses, s.addresses...)
}

// first returns the place of the method or, if the group has none, of the first address or
// route. It reports false if there are neither addresses nor routes.
func (s *setting) first() (at foreign.Pos, ok bool) {
	switch {
	case len(s.addresses) > 0:
		at = s.addresses[0].Pos
	case len(s.routes) > 0:
		at = s.routes[0].Pos
	default:
		return at, false
	}
	if s.method.at.Line > 0 {
		at = s.method.at
	}
	return at, true
}

func (p *parser) allows6() bool {
	return slices.ContainsFunc(p.d.Peers, func(q foreign.Peer) bool {
		return slices.ContainsFunc(q.AllowedIPs, func(a netip.Prefix) bool { return a.Addr().Is6() })
	})
}

// routed reports whether a family can have routes.
func (s *setting) routed() bool {
	switch s.method.value {
	case "", "ignore", "disabled":
		return false
	case "manual":
		return true
	}
	return len(s.addresses)+len(s.routes) > 0
}

// merge gives a prefix that several peers have to the last of them, as the kernel does.
func (p *parser) merge() {
	owner := map[netip.Prefix]int{}
	for i, q := range p.d.Peers {
		for _, a := range q.AllowedIPs {
			owner[a] = i
		}
	}
	for i := range p.d.Peers {
		q := &p.d.Peers[i]
		q.AllowedIPs = slices.DeleteFunc(q.AllowedIPs, func(a netip.Prefix) bool {
			if owner[a] == i {
				return false
			}
			p.left(q.Pos, "allowed-ips", a.String()+" is a later peer's: the kernel gives a prefix to one")
			return true
		})
	}
}

// A place is the table and the metric of a route.
type place struct{ table, metric int }

// routes decides which allowed IPs become routes, and in which table.
func (p *parser) routes() {
	places := map[netip.Prefix]place{}
	if p.peerRoutes {
		for _, q := range p.d.Peers {
			for _, a := range q.AllowedIPs {
				if at, ok := p.placeOf(a); ok {
					places[a] = at
				}
			}
		}
	}
	p.byPeer(places)
	for i := range p.ip {
		p.at = &p.ip[i]
		p.ownRoutes()
	}
}

// placeOf returns where the route of an allowed IP goes, and whether there is one
// (_get_dev2_ip_config in nm-device-wireguard.c). With never-default there is no default
// route. Otherwise it goes into a table of its own with a mark and rules, which apply makes
// by itself.
func (p *parser) placeOf(a netip.Prefix) (place, bool) {
	i := 0
	if a.Addr().Is6() {
		i = 1
	}
	s := &p.ip[i]
	if a.Bits() > 0 {
		metric := s.own(i == 1)
		if s.metric < 0 && p.automatic() {
			metric = 0
		}
		return place{s.table, metric}, s.routed() || i == 1 && p.d.WithoutIPv6
	}
	if i == 1 && p.d.WithoutIPv6 {
		return place{}, !s.neverDefault
	}
	if s.neverDefault || !s.routed() {
		return place{}, false
	}
	if p.auto[i] != 0 {
		return place{}, true
	}
	return place{s.table, s.own(i == 1)}, true
}

// automatic reports whether NetworkManager puts a default route into a table of its own. A
// metric that the file does not give is left open then, because a host of a tunnel file has
// one metric for all routes.
func (p *parser) automatic() bool {
	for _, q := range p.d.Peers {
		for _, a := range q.AllowedIPs {
			i := 0
			if a.Addr().Is6() {
				i = 1
			}
			if a.Bits() == 0 && p.auto[i] != 0 && !p.ip[i].neverDefault && p.ip[i].routed() {
				return p.peerRoutes
			}
		}
	}
	return false
}

// own returns the metric of routes that have none themselves: that of the group, or
// NetworkManager's default. 1024 becomes 0 for IPv6, because the kernel takes 0 for 1024.
func (s *setting) own(ipv6 bool) int {
	switch {
	case ipv6 && s.metric == 1024:
		return 0
	case s.metric < 0:
		return ownMetric
	}
	return s.metric
}

// byPeer attributes routes to the peers all of whose allowed IPs have routes of one table
// and metric, the same as those of the other peers. The other routes are the device's.
func (p *parser) byPeer(places map[netip.Prefix]place) {
	d := p.d
	var common *place
	for i := range d.Peers {
		q := &d.Peers[i]
		q.Routed = len(q.AllowedIPs) > 0
		for _, a := range q.AllowedIPs {
			at, ok := places[a]
			if ok && common == nil {
				common = &at
			}
			q.Routed = q.Routed && ok && at == *common
		}
		for _, a := range q.AllowedIPs {
			if at, ok := places[a]; ok && !q.Routed {
				d.Routes = append(d.Routes, foreign.Route{Pos: q.Pos, Prefix: a, Table: at.table, Metric: at.metric})
			}
		}
	}
	if common != nil && slices.ContainsFunc(d.Peers, func(q foreign.Peer) bool { return q.Routed }) {
		d.Table, d.Metric = common.table, common.metric
	}
}

// ownRoutes adds the routes in the file and the one to the gateway.
func (p *parser) ownRoutes() {
	s := p.at
	ipv6 := p.family() == 128
	for i := range s.routes {
		r := &s.routes[i]
		r.Table = s.table
		if o, ok := s.options[r.key]; ok {
			p.routeOptions(r, o)
			delete(s.options, r.key)
		}
		if !r.metric {
			r.Metric = s.own(ipv6)
		} else if ipv6 && r.Metric == 1024 {
			r.Metric = 0
		}
		p.d.Routes = append(p.d.Routes, r.Route)
	}
	for _, key := range slices.Sorted(maps.Keys(s.options)) {
		o := s.options[key]
		p.Wrong(o.at, "", "%s is of no route here", o.key)
	}
	if s.gateway.IsValid() && !s.neverDefault && s.routed() {
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if ipv6 {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		p.d.Routes = append(p.d.Routes, foreign.Route{Pos: s.gatewayAt, Prefix: all, Gateway: s.gateway, Table: s.table,
			Metric: s.own(ipv6)})
	}
}

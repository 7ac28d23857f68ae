package draft

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// claims decides the addresses and routes of h, which are the allowed IPs that its peers
// have for it. A peer that has others gets allowed_ips of its own.
func (m *maker) claims(h *host) {
	var own []netip.Prefix // as single addresses
	if h.d != nil {
		seen := map[netip.Prefix]bool{}
		for _, a := range h.d.Addresses {
			if seen[a.Local] {
				continue
			}
			seen[a.Local] = true
			own = append(own, netip.PrefixFrom(a.Local.Addr(), a.Local.Addr().BitLen()))
			h.addresses = append(h.addresses, spelled(a))
		}
	}
	common := m.common(h, own)
	for _, p := range common {
		switch {
		case slices.Contains(own, p):
		case h.d == nil && p.IsSingleIP() && m.owners[p.Addr()] != h:
			// Another host has this address, so only allowed_ips of the pair say it.
		case h.d == nil && p.IsSingleIP():
			h.addresses = append(h.addresses, p.Addr().String())
			own = append(own, p)
		default:
			h.routes = append(h.routes, p.String())
		}
	}
	claimed := len(own) + len(h.routes)
	for _, e := range h.mentions {
		same := len(e.p.AllowedIPs) == claimed
		for _, p := range e.p.AllowedIPs {
			same = same && (slices.Contains(own, p) || slices.Contains(h.routes, p.String()))
		}
		e.allowed = !same
	}
}

// own decides who has which address: of a host with files they say it, and of another one the
// allowed IPs. The first one counts.
func (m *maker) own() {
	for _, h := range m.list {
		for _, a := range h.own() {
			m.owner(a, h)
		}
	}
	for _, h := range m.list {
		if h.d != nil {
			continue
		}
		for _, p := range m.common(h, nil) {
			if p.IsSingleIP() {
				m.owner(p.Addr(), h)
			}
		}
	}
}

// owner makes h the host that has the address, unless another one has it.
func (m *maker) owner(addr netip.Addr, h *host) {
	if m.owners[addr] == nil {
		m.owners[addr] = h
	}
}

// spelled returns an address as the tunnel file has it.
func spelled(a foreign.Address) string {
	s := a.Local.String()
	if a.Local.IsSingleIP() {
		s = a.Local.Addr().String()
	}
	if a.Remote.IsValid() {
		s = a.Local.Addr().String() + " peer " + a.Remote.String()
	}
	return s
}

// common returns the allowed IPs of the first peer whose entry for h has all of h's own
// addresses, or nil. Without a device h has none, and the first entry counts.
func (m *maker) common(h *host, own []netip.Prefix) []netip.Prefix {
	for _, e := range h.mentions {
		all := true
		for _, o := range own {
			all = all && slices.Contains(e.p.AllowedIPs, o)
		}
		if all {
			return e.p.AllowedIPs
		}
	}
	return nil
}

// routing decides the routes of h. By default a tunnel file makes a route for each allowed
// IP; others are written.
func (m *maker) routing(h *host) {
	if h.d == nil {
		return
	}
	routed := 0
	for _, e := range h.entries {
		if e.p.Routed {
			routed++
		}
	}
	m.table(h)
	if routed == 0 && len(h.d.Routes) == 0 && len(h.entries) > 0 {
		h.off = h.needsRoutes()
		return
	}
	byPeer := m.assign(h)
	for _, e := range h.entries {
		further := byPeer[e.peer.name]
		if e.p.Routed && len(further) == 0 && !h.d.WithoutIPv6 {
			continue // this is the default
		}
		if own := h.routesTo(e, further); !sameSet(own, h.made(e)) {
			e.routes, e.written = own, true
		}
	}
}

// routesTo returns all routes to the peer of e: further ones and, if the peer is routed,
// those for its allowed IPs.
func (h *host) routesTo(e *entry, further []string) []string {
	if !e.p.Routed {
		return further
	}
	for _, p := range h.made(e) {
		if !slices.Contains(further, p) && !(h.d.WithoutIPv6 && strings.Contains(p, ":")) {
			further = append(further, p)
		}
	}
	return further
}

// needsRoutes reports whether there would be a route by default.
func (h *host) needsRoutes() bool {
	for _, e := range h.entries {
		if len(h.made(e)) > 0 {
			return true
		}
	}
	return false
}

// made returns the routes that e gets by default.
func (h *host) made(e *entry) (routes []string) {
	for _, p := range e.p.AllowedIPs {
		if h.d.Table != 0 || !h.onLink(p) {
			routes = append(routes, p.String())
		}
	}
	return routes
}

// onLink reports whether p is the network of an address of h, to which the kernel makes a route
// with the address. That of a point-to-point address is its far end.
func (h *host) onLink(p netip.Prefix) bool {
	return slices.ContainsFunc(h.d.Addresses, func(a foreign.Address) bool {
		if a.Remote.IsValid() {
			return a.Remote.Masked() == p
		}
		return a.Local.Masked() == p
	})
}

// An assigned is a route of the device with the peer that accepts its packets.
type assigned struct {
	foreign.Route
	to *entry
}

// assign gives each route of the device to the peer that accepts its packets. Routes that
// no peer accepts, or that are not in the table of the others, are left out.
func (m *maker) assign(h *host) map[string][]string {
	d := h.d
	all := m.accepted(h)
	routed := slices.ContainsFunc(h.entries, func(e *entry) bool { return e.p.Routed })
	if len(all) > 0 && !routed && d.Table == 0 && d.Metric == 0 {
		d.Table, d.Metric = all[0].Table, all[0].Metric
	}
	byPeer := map[string][]string{}
	h.kept = nil
	for _, r := range all {
		name := r.to.peer.name
		switch {
		case r.Table != d.Table:
			m.leave(r.Pos, "route "+r.Prefix.String(), "it is in "+tableName(r.Table)+", and a host's routes are in one table: "+
				"here in "+tableName(d.Table))
			continue
		case slices.Contains(byPeer[name], r.Prefix.String()):
			m.leave(r.Pos, "route "+r.Prefix.String(), "it is there twice, and a tunnel has one to each prefix")
			continue
		}
		if r.Metric != d.Metric {
			m.leave(r.Pos, "metric "+strconv.Itoa(r.Metric)+" of route "+r.Prefix.String(), "a host's routes have one metric")
		}
		h.kept = append(h.kept, r.Route)
		byPeer[name] = append(byPeer[name], r.Prefix.String())
	}
	return byPeer
}

// accepted returns the routes of the device that a peer accepts.
func (m *maker) accepted(h *host) (all []assigned) {
	for _, r := range h.d.Routes {
		if r.Table == mainTable {
			r.Table = 0
		}
		if r.Table == 0 && h.onLink(r.Prefix) {
			if r.Gateway.IsValid() {
				m.leave(r.Pos, "route "+r.Prefix.String(), "it is the network of an address, to which the kernel makes a route")
			}
			continue
		}
		to, bits := (*entry)(nil), -1
		for _, e := range h.entries {
			for _, a := range e.p.AllowedIPs {
				if a.Bits() <= r.Prefix.Bits() && a.Contains(r.Prefix.Addr()) && a.Bits() > bits {
					to, bits = e, a.Bits()
				}
			}
		}
		if to == nil {
			m.leave(r.Pos, "route "+r.Prefix.String(), "no peer accepts what goes there: write it into AllowedIPs of one")
			continue
		}
		all = append(all, assigned{r, to})
	}
	return all
}

// mainTable is RT_TABLE_MAIN (rtnetlink(7)), for which a tunnel file has 0.
const mainTable = 254

func tableName(n int) string {
	if n == 0 {
		return "the main table"
	}
	return "table " + strconv.Itoa(n)
}

// table replaces the main table by 0, which stands for it in a tunnel file.
func (m *maker) table(h *host) {
	if h.d.Table == mainTable {
		h.d.Table = 0
	}
}

func sameSet(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return strings.Join(a, ",") == strings.Join(b, ",")
}

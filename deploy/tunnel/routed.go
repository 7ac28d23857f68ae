package tunnel

import (
	"fmt"
	"net/netip"
	"slices"
)

// lintRoutes refuses routes = of a pair that cannot work. A prefix cannot be routed to two
// peers of h at once, since the kernel has one route of a prefix, metric and table. Nor can it
// be routed to a peer that is allowed no part of it: WireGuard has no peer to send the packets
// to then (ENOKEY of wg_xmit in Linux's drivers/net/wireguard/device.c).
func lintRoutes(l *linter, h *host) {
	if !h.routesApart() {
		return
	}
	seen := map[netip.Prefix]value[string]{}
	for _, c := range h.claims {
		seen[c.val] = value[string]{h.name, c.pos}
	}
	for _, peer := range l.t.peers(h) {
		apart := h.pair(peer.name).routes
		if len(apart.vals) > 0 && h.table.val == tableOff {
			l.add(apart.pos, "leave out one of the two", `host %q has routes to peer %q, and none at all by table = "off" in %s`,
				h.name, peer.name, h.table.pos)
			continue
		}
		for _, r := range routed(h, peer) {
			if old, ok := seen[r.val]; ok && (old.val != h.name || apart.given()) {
				routedTwice(l, h, peer, r, old)
			}
			seen[r.val] = value[string]{peer.name, r.pos}
		}
		allowsRoutes(l, h, peer, carried(h, peer, apart.vals))
	}
}

func routedTwice(l *linter, h, peer *host, r value[netip.Prefix], old value[string]) {
	hint := fmt.Sprintf("write routes = under [hosts.%s.peer.%s]", h.name, peer.name)
	if old.val == h.name {
		l.add(r.pos, hint, "host %q would route %s to its peer %q, and has that prefix itself by %s", h.name, r.val, peer.name, old.pos)
		return
	}
	l.add(r.pos, hint, "%s is routed to two peers of host %q: to %q, and to %q by %s", r.val, h.name, peer.name, old.val,
		old.pos)
}

// allowsRoutes refuses routes to a peer that is allowed nothing in them.
func allowsRoutes(l *linter, h, peer *host, routes []value[netip.Prefix]) {
	if len(routes) == 0 {
		return
	}
	var may prefixSet[pos]
	var sorted []netip.Addr
	for _, c := range allowed(h, peer) {
		may.put(c.val, c.pos)
		sorted = append(sorted, c.val.Addr())
	}
	slices.SortFunc(sorted, netip.Addr.Compare)
	for _, r := range routes {
		_, _, wider := may.around(r.val.Addr())
		at, _ := slices.BinarySearchFunc(sorted, r.val.Addr(), netip.Addr.Compare)
		if !wider && !(at < len(sorted) && r.val.Contains(sorted[at])) {
			l.add(r.pos, fmt.Sprintf("write it into allowed_ips = under [hosts.%s.peer.%s]", h.name, peer.name),
				"host %q routes %s to peer %q, which is allowed nothing of it: no packet would be sent", h.name, r.val, peer.name)
		}
	}
}

// routesApart reports whether h sets routes for a pair.
func (h *host) routesApart() bool {
	for _, p := range h.pairs {
		if p.routes.given() {
			return true
		}
	}
	return false
}

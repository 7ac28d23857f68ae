package tunnel

import (
	"fmt"
	"net/netip"
)

// sharedPrefixes refuses a prefix that is allowed to two peers of one host: the kernel
// would silently move it to the one that is set last (wireguard_allowedips_insert in
// Linux's drivers/net/wireguard/allowedips.c).
//
// Without allowed_ips of a pair this needs a prefix that is claimed twice, so for most
// tunnels it is enough to check that. Only the first host with such a conflict is reported,
// since the others have the same one.
func (l *linter) sharedPrefixes(shared bool) {
	for _, h := range l.t.sorted {
		if (shared || h.overrides()) && l.conflicts(h) {
			return
		}
	}
}

// claimedTwice reports whether two hosts, or one host twice, have the same address or prefix.
func claimedTwice(t *Tunnel) bool {
	seen := make(unique[netip.Prefix], len(t.sorted))
	for _, h := range t.sorted {
		for _, c := range h.claims {
			if seen.add(c.val, "") != nil {
				return true
			}
		}
	}
	return false
}

// overrides reports whether h allows some peer other prefixes than the default.
func (h *host) overrides() bool {
	for _, p := range h.pairs {
		if p.allowedIPs.given() {
			return true
		}
	}
	return false
}

// conflicts reports the prefixes that h allows to two peers, or to a peer while h has or
// routes them itself: then each of the two would send their packets to the other.
func (l *linter) conflicts(h *host) bool {
	before := len(l.list)
	seen := map[netip.Prefix]value[string]{}
	for _, c := range h.claims {
		seen[c.val] = value[string]{h.name, c.pos}
	}
	for _, peer := range l.t.peers(h) {
		for _, c := range allowed(h, peer) {
			if old, ok := seen[c.val]; ok {
				l.conflict(h, peer, c, old)
				continue
			}
			seen[c.val] = value[string]{peer.name, c.pos}
		}
	}
	return len(l.list) > before
}

func (l *linter) conflict(h, peer *host, c value[netip.Prefix], old value[string]) {
	if old.val == h.name {
		l.add(c.pos, fmt.Sprintf("write allowed_ips = under [hosts.%s.peer.%s]", h.name, peer.name),
			"host %q would route %s to its peer %q, and has that prefix itself by %s", h.name, c.val, peer.name, old.pos)
		return
	}
	l.add(c.pos, fmt.Sprintf("write peers = or allowed_ips = under [hosts.%s]", h.name),
		"%s is allowed to two peers of host %q: to %q, and to %q by %s",
		c.val, h.name, peer.name, old.val, old.pos)
}

// gateway refuses a next hop that no peer of h has.
func (l *linter) gateway(h *host) {
	if h.gateway.given() && l.t.gatewayPeer(h) == nil {
		l.add(h.gateway.pos, "", "gateway %s is not among the allowed IPs of any peer of host %q",
			h.gateway.val, h.name)
	}
}

// gatewayPeer returns the peer to which packets to h's gateway go: the one with the longest
// prefix around it, as in the kernel.
func (t *Tunnel) gatewayPeer(h *host) *host {
	if !h.gateway.given() {
		return nil
	}
	var best *host
	bits := -1
	for _, peer := range t.peers(h) {
		for _, c := range allowed(h, peer) {
			if c.val.Contains(h.gateway.val) && c.val.Bits() > bits {
				best, bits = peer, c.val.Bits()
			}
		}
	}
	return best
}

package foreign

import (
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel"
)

// Wide is the prefix length below which a route counts as a default route.
const Wide = 8

// NeedsTable reports whether apply puts the route r of v into a table of its own, with a
// mark and rules: it counts as a default route, or an endpoint lies in it, so that the
// encrypted packets would be routed into the tunnel.
func NeedsTable(v *tunnel.View, r tunnel.Route) bool {
	if v.Table != 0 {
		return false
	}
	if r.Prefix.Bits() < Wide && !r.Gateway.IsValid() && r.Metric == 0 {
		return true
	}
	return slices.ContainsFunc(v.Peers, func(peer tunnel.Peer) bool {
		at, err := netip.ParseAddrPort(peer.Endpoint)
		return err == nil && r.Prefix.Contains(at.Addr())
	})
}

package foreign

import (
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel"
)

// Wide is the length below which a route is taken to be everything, or next to it.
const Wide = 8

// NeedsTable tells whether a route of v is one that apply puts into a table of its own,
// with a mark and rules: it is a default route or next to one, or an endpoint is in it,
// so that the encrypted packets themselves would be routed into the tunnel.
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

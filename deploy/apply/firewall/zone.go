package firewall

import (
	"slices"
	"strings"
)

// Firewalld's tables of nftables: its own, and the one that is there while everything is
// dropped ("panic").
const (
	FirewalldTable = "firewalld"
	PanicTable     = "firewalld_policy_drop"
)

// Zone is the zone of firewalld in which the table of c has packets that come in by an
// interface, or "" where that is not firewalld's. With either of its backends each zone has
// chains of its own, to which the base chains jump; those for sources come before the one
// for the interface, and policies have chains as zones have.
func (r *Ruleset) Zone(c *Chain, in Link) string {
	prefix := ""
	if c.Table == FirewalldTable {
		prefix = "filter_"
	}
	base := r.find(c, prefix+"INPUT")
	if base == nil {
		return ""
	}
	p := Packet{Family: c.Family, Protocol: protocolUDP, In: in, Local: true}
	w := &walk{known: map[string]outcome{},
		packetState: packetState{rules: r, packet: p, hook: Input, chainFamily: c.Family, tracked: true,
			mark: unknown(4), connMark: unknown(4)}}
	w.chain(base, 0)
	for _, name := range slices.Backward(w.entered) {
		zone, ok := strings.CutPrefix(name, prefix+"IN_")
		if ok && r.isZone(c, prefix, zone) {
			return zone
		}
	}
	return ""
}

// isZone: a policy is either about this host or about what is forwarded, and before
// firewalld 1.0 a zone had two chains for the latter. The parts of a zone have no parts.
func (r *Ruleset) isZone(c *Chain, prefix, zone string) bool {
	has := func(name string) bool { return r.find(c, prefix+name) != nil }
	return has("IN_"+zone+"_allow") && (has("FWD_"+zone) || has("FWDI_"+zone))
}

const protocolUDP = 17

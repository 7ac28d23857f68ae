package networkd

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
)

// firstTable is the table and the mark of a tunnel wg0 that has none of its own.
// wg-quick(8) uses the same number.
const firstTable = 51820

// A policy keeps encrypted packets away from routes that cover everything, or an endpoint:
// these routes are in a table of their own, which only packets without the mark use.
type policy struct {
	mark, table int
	v4, v6      []int // prefix lengths from which on routes of the main table come first
}

// policyOf returns the policy that the routes of v need, or nil.
func policyOf(v *tunnel.View) *policy {
	p := &policy{mark: int(v.FwMark), table: tableOf(v.Tunnel)}
	switch p.mark {
	case 0:
		p.mark = p.table
	case p.table:
		p.table++ // only a mark that is chosen here equals its table
	}
	for _, r := range v.Routes {
		switch bits := r.Prefix.Bits(); {
		case !foreign.NeedsTable(v, r):
		case r.Prefix.Addr().Is4():
			p.v4 = append(p.v4, max(bits, foreign.Wide))
		default:
			p.v6 = append(p.v6, max(bits, foreign.Wide-1)) // fc00::/7 is a private network (RFC 4193)
		}
	}
	if p.v4 == nil && p.v6 == nil {
		return nil
	}
	p.v4, p.v6 = descending(p.v4), descending(p.v6)
	return p
}

func descending(lengths []int) []int {
	slices.Sort(lengths)
	slices.Reverse(lengths)
	return slices.Compact(lengths)
}

// tableOf returns a table number that other tunnels of a host are unlikely to have.
func tableOf(name string) int {
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "wg")); err == nil && 0 <= n && n < 1000 {
		return firstTable + n
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	return firstTable + 1000 + int(h.Sum32()%10_000)
}

// rules writes the rules in the order in which the kernel evaluates them, before the rule
// for the main table.
func (w *writer) rules(p *policy) {
	w.Note("what is not encrypted looks into table %d before the main table's default routes: so neither", p.table)
	w.Note("do the encrypted packets go in a circle, nor does another default route take what is the tunnel's.")
	w.Note("Where rp_filter is strict (1), net.ipv4.conf.all.rp_filter=2 lets the answers in.")
	w.Note("When the interface is gone packets leave in the clear: systemd-networkd has no kill switch.")
	for _, f := range []struct {
		name    string
		lengths []int
	}{{"ipv4", p.v4}, {"ipv6", p.v6}} {
		for i, length := range f.lengths {
			priority := priorityMain - 2*(len(f.lengths)-1-i)
			w.section("RoutingPolicyRule")
			w.Note("routes of the main table that are as specific come first, the host's own networks")
			w.Line("Family=%s\nPriority=%d\nTable=main\nSuppressPrefixLength=%d", f.name, priority, length-1)
			w.section("RoutingPolicyRule")
			w.Note("all but the encrypted packets, which have the mark")
			w.Line("Family=%s\nPriority=%d\nFirewallMark=%d\nInvertRule=yes\nTable=%d", f.name, priority+1, p.mark, p.table)
			if i < len(f.lengths)-1 {
				w.Line("SuppressPrefixLength=%d", length-1)
			}
		}
	}
}

// priorityMain is the priority of our last rule that looks into the main table. The
// kernel's own has 32766.
const priorityMain = 32764

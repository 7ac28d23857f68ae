package apply

import (
	"net/netip"
	"slices"
)

// The priorities that the kernel itself would choose, just before main's 32766.
const (
	priorityPass = 32600 // while the mark changes: before those of any length
	priorityMain = 32764 // what is more specific than the tunnel's route comes first
	priorityLast = 32765 // the last before main's
	firstTable   = 51820 // as wg-quick(8) has it
)

// A policyRouting is policy routing for the tunnel: its encrypted packets carry a mark,
// its routes are in a table of their own, and everything without the mark
// looks there. So neither do they catch the encrypted packets that they are made
// of, nor does any default route of the main table, whatever its metric or
// preference, take away what is the tunnel's.
type policyRouting struct {
	mark       Mark
	table      int
	ipv4, ipv6 bool
	routes     map[netip.Prefix]bool // that need it
}

// wide is the length below which a route is taken to be everything, or half of
// it: an endpoint that nobody knows yet is likely to lie there.
const wide = 8

// keptWide is the length from which a route of the main table comes before a wide
// one of the tunnel. Not one only: a DHCP server may hand out 0.0.0.0/1 (RFC 3442),
// and a router advertise 2000::/3 (RFC 4191). fc00::/7 is somebody's own network
// (RFC 4193).
func keptWide(ipv6 bool) int {
	if ipv6 {
		return 7
	}
	return wide
}

// rules are what policy routing needs, in the order in which they are looked at and
// added: for each length of its routes, the longest first, the routes of
// the main table that are at least as specific, then the tunnel's.
func (c policyRouting) rules() []Rule {
	var rules []Rule
	for _, ipv6 := range []bool{false, true} {
		lengths := c.lengths(ipv6)
		for i, length := range lengths {
			priority := priorityMain - 2*(len(lengths)-1-i)
			if ipv6 {
				priority-- // for the refusals
			}
			of := Rule{IPv6: ipv6, Priority: priority + 1, NotMark: c.mark, Table: c.table}
			if i < len(lengths)-1 {
				of.AtLeast = length
			}
			rules = append(rules, Rule{IPv6: ipv6, Priority: priority, AtLeast: length}, of)
		}
	}
	return rules
}

// lengths are those of the routes of a family, the longest first; all wide
// ones count as one.
func (c policyRouting) lengths(ipv6 bool) []int {
	var lengths []int
	for prefix := range c.routes {
		if prefix.Addr().Is6() == ipv6 {
			length := prefix.Bits()
			if length < wide {
				length = keptWide(ipv6)
			}
			lengths = append(lengths, length)
		}
	}
	slices.Sort(lengths)
	lengths = slices.Compact(lengths)
	slices.Reverse(lengths)
	return lengths
}

// refusals are what [Unreachable] routes are, as rules: those of IPv6 belong to the
// loopback device (ip6_route_info_create), and go when it loses IPv6 or goes down
// (rt6_disable_ip), as disable_ipv6 of all has it. A rule belongs to no device. IPv4's
// routes have none either.
func (c policyRouting) refusals() []Rule {
	var rules []Rule
	for prefix := range c.routes {
		if prefix.Addr().Is6() {
			rules = append(rules, Rule{IPv6: true, Priority: priorityLast, NotMark: c.mark, Refuses: prefix})
		}
	}
	slices.SortFunc(rules, func(a, b Rule) int { return a.Refuses.Compare(b.Refuses) })
	return rules
}

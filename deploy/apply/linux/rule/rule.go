// Package rule reads and changes the rules of policy routing (ip-rule(8)).
package rule

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/nft"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/tunnel"
)

// Observe reads the rules of the kinds that a tunnel makes, if the view could need one or
// the journal has one, and the tables and marks that any rule uses.
func Observe(nl *netlink.Handle, s *apply.State, view *tunnel.View, entries journal.Entries) error {
	needed := view != nil && MayNeedPolicyRouting(view)
	for resource := range entries {
		needed = needed || resource.Kind == journal.Rule
	}
	if !needed {
		return nil
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := list(nl, family)
		if err != nil {
			return err
		}
		for _, r := range rules {
			if rule, ok := ruleOf(r, family); ok {
				s.Rules = append(s.Rules, rule)
			}
			s.TakenTables = append(s.TakenTables, r.Table)
			if m := markOf(r); m.Value != 0 && !slices.Contains(s.TakenMarks, m) {
				s.TakenMarks = append(s.TakenMarks, m)
			}
		}
	}
	return observeNarrow(nl, s)
}

// observeNarrow finds the tables without a wide route, into which rules send all that lacks a
// mark: what they catch are a few networks, as those of Calico's pods.
func observeNarrow(nl *netlink.Handle, s *apply.State) error {
	for _, r := range s.Rules {
		table := apply.FamilyTable{IPv6: r.IPv6, Table: r.Table}
		if r.NotMark.Value == 0 || r.Table == 0 || slices.Contains(s.NarrowTables, table) {
			continue
		}
		family := netlink.FAMILY_V4
		if r.IPv6 {
			family = netlink.FAMILY_V6
		}
		routes, err := nlmsg.Retry(func() ([]netlink.Route, error) {
			return nl.RouteListFiltered(family, &netlink.Route{Table: r.Table}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(routes, isWide) {
			s.NarrowTables = append(s.NarrowTables, table)
		}
	}
	return nil
}

// isWide reports whether a route leads a large part of all addresses somewhere.
func isWide(r netlink.Route) bool {
	const wide = 8
	if r.Type == unix.RTN_THROW {
		return false
	}
	if r.Dst == nil {
		return true
	}
	bits, _ := r.Dst.Mask.Size()
	return bits < wide
}

// list returns the rules of a family. A kernel without IPv6, as one booted with
// ipv6.disable=1, answers EAFNOSUPPORT (fib_nl_dumprule) and has none.
func list(nl *netlink.Handle, family int) ([]netlink.Rule, error) {
	rules, err := nlmsg.Retry(func() ([]netlink.Rule, error) { return nl.RuleList(family) })
	return rules, nlmsg.Ignore(err, unix.EAFNOSUPPORT)
}

// MayNeedPolicyRouting reports whether a route of the view could catch the encrypted
// packets: a peer has an endpoint, which may lie in a route, or a route is so wide (shorter
// than /8) that an endpoint that is not known yet may.
func MayNeedPolicyRouting(view *tunnel.View) bool {
	for i := range view.Routes {
		if view.Routes[i].Prefix.Bits() < 8 {
			return true
		}
	}
	for i := range view.Peers {
		if view.Peers[i].Endpoint != "" {
			return true
		}
	}
	return false
}

// ruleOf converts r, and reports whether it is of a kind that a tunnel makes: it matches a
// mark or suppresses short prefixes, and matches nothing else.
func ruleOf(r netlink.Rule, family int) (apply.Rule, bool) {
	rule := apply.Rule{
		IPv6:     family == netlink.FAMILY_V6,
		Priority: r.Priority,
		Table:    r.Table,
		AtLeast:  r.SuppressPrefixlen + 1,
	}
	if rule.Table == unix.RT_TABLE_MAIN {
		rule.Table = 0
	}
	if r.Invert {
		rule.NotMark = markOf(r)
	} else {
		rule.Mark = markOf(r)
	}
	switch {
	case refuses(r):
		rule.Table, rule.Refuses = 0, destination(r, family)
	case r.Table == unix.RT_TABLE_UNSPEC || r.Dst != nil:
		return rule, false
	}
	if r.Src != nil || r.IifName != "" || r.OifName != "" || r.IPProto != 0 || r.Invert && r.Mark == 0 {
		return rule, false
	}
	return rule, rule.AtLeast > 0 || r.Mark != 0
}

// refuses reports whether r rejects packets without the mark. The library does not return
// the action of a rule, but every rule that looks into a table has one
// (fib4_rule_configure, fib6_rule_configure).
func refuses(r netlink.Rule) bool {
	return r.Table == unix.RT_TABLE_UNSPEC && r.Invert && r.Goto < 0
}

// destination returns the prefix that a rule matches.
func destination(r netlink.Rule, family int) netip.Prefix {
	if r.Dst == nil {
		return netip.PrefixFrom(nlmsg.Unspecified(family), 0)
	}
	addr, _ := netip.AddrFromSlice(r.Dst.IP)
	bits, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(addr, bits)
}

// markOf returns the mark that a rule matches.
func markOf(r netlink.Rule) apply.Mark {
	m := apply.Mark{Value: r.Mark}
	if r.Mask != nil && *r.Mask != ^uint32(0) && r.Mark != 0 {
		m.Mask = *r.Mask
	}
	return m
}

// Set adds or removes a rule. It is no error if it is there, or gone, already.
func Set(c apply.RuleChange) error {
	r := netlink.NewRule()
	r.Family = netlink.FAMILY_V4
	if c.Rule.IPv6 {
		r.Family = netlink.FAMILY_V6
	}
	r.Priority = c.Rule.Priority
	r.Table = c.Rule.Table
	switch {
	case c.Rule.Refuses.IsValid():
		r.Type = unix.FR_ACT_UNREACHABLE
		if c.Rule.Refuses.Bits() > 0 {
			r.Dst = nlmsg.IPNet(c.Rule.Refuses)
		}
	case r.Table == 0:
		r.Table = unix.RT_TABLE_MAIN
	}
	m := c.Rule.Mark
	if c.Rule.NotMark.Value != 0 {
		r.Invert, m = true, c.Rule.NotMark
	}
	if m.Value != 0 {
		mask := nft.MaskOf(m)
		r.Mark, r.Mask = m.Value, &mask
	}
	if c.Rule.AtLeast > 0 {
		r.SuppressPrefixlen = c.Rule.AtLeast - 1
	}
	if c.Add {
		r.Type = cmp.Or(r.Type, unix.FR_ACT_TO_TBL) // look into the table, unless it refuses
		// systemd-networkd removes all rules that it did not make, except those of protocol
		// kernel, whenever it configures any link (ManageForeignRoutingPolicyRules= in
		// networkd.conf(5)). Packets for the tunnel would then leave in the clear.
		r.Protocol = unix.RTPROT_KERNEL
		return nlmsg.Ignore(send(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, r), unix.EEXIST)
	}
	return nlmsg.Ignore(send(unix.RTM_DELRULE, 0, r), unix.ENOENT)
}

// ByMark returns the IPv4 rules of others that match a mark, in words for the user.
func ByMark(nl *netlink.Handle, ours journal.Entries) (signs []string) {
	rules, err := list(nl, netlink.FAMILY_V4)
	if err != nil {
		return nil
	}
	for _, r := range rules {
		rule, _ := ruleOf(r, netlink.FAMILY_V4)
		if _, mine := ours[apply.RuleChange{Rule: rule}.Resource()]; r.Mark != 0 && !mine {
			signs = append(signs, fmt.Sprintf("the rule of priority %d for mark %#x", r.Priority, r.Mark))
		}
	}
	return signs
}

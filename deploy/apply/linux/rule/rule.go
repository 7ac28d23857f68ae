// Package rule reads the rules of policy routing and changes those of a tunnel
// (rules of ip-rule(8)).
package rule

import (
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

// Observe reads the rules that a tunnel could have made, where the view
// could need some or the journal speaks of one.
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
	return nil
}

// list lists the rules of a family. A kernel without the family, as one booted
// with ipv6.disable=1, has none, and says EAFNOSUPPORT (fib_nl_dumprule).
func list(nl *netlink.Handle, family int) ([]netlink.Rule, error) {
	rules, err := nlmsg.Retry(func() ([]netlink.Rule, error) { return nl.RuleList(family) })
	return rules, nlmsg.Ignore(err, unix.EAFNOSUPPORT)
}

// MayNeedPolicyRouting reports whether a route could catch the encrypted packets: one in
// which an endpoint lies, or one so wide that an endpoint not known yet may.
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

// ruleOf returns r if it is of a kind that a tunnel makes: it looks at the mark
// or suppresses short routes, and at nothing else.
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

// refuses reports whether r refuses what has not the mark. The library does not tell a
// rule's action. Of those that look into a table all have one (fib4_rule_configure,
// fib6_rule_configure).
func refuses(r netlink.Rule) bool {
	return r.Table == unix.RT_TABLE_UNSPEC && r.Invert && r.Goto < 0
}

// destination is the prefix that a rule is for.
func destination(r netlink.Rule, family int) netip.Prefix {
	if r.Dst == nil {
		return netip.PrefixFrom(nlmsg.Unspecified(family), 0)
	}
	addr, _ := netip.AddrFromSlice(r.Dst.IP)
	bits, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(addr, bits)
}

// markOf is the mark that a rule looks for.
func markOf(r netlink.Rule) apply.Mark {
	m := apply.Mark{Value: r.Mark}
	if r.Mask != nil && *r.Mask != ^uint32(0) && r.Mark != 0 {
		m.Mask = *r.Mask
	}
	return m
}

// Set makes a change of a rule.
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
		// systemd-networkd takes away all rules that it did not make, whenever it
		// configures any link, but for the kernel's
		// (ManageForeignRoutingPolicyRules= in networkd.conf(5)). What went into
		// the tunnel would go in the clear.
		r.Protocol = unix.RTPROT_KERNEL
		return nlmsg.Ignore(changeRule(r, true), unix.EEXIST)
	}
	return nlmsg.Ignore(changeRule(r, false), unix.ENOENT)
}

// ByMark are the rules of others that look at the mark of a packet.
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

package rule

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/lab/labtest"
	"wgkeys/deploy/tunnel"
)

// On a kernel without IPv6 there are no IPv6 rules, and a tunnel comes up. The test uses
// another family that has rules on no kernel.
func TestNoRulesOfAFamily(t *testing.T) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	if _, err := nl.RuleList(unix.AF_MPLS); err == nil {
		t.Fatal("this kernel has rules for MPLS: another family has to stand for none")
	}
	if rules, err := list(nl, unix.AF_MPLS); len(rules) > 0 || err != nil {
		t.Errorf("%v: %v", rules, err)
	}
	if rules, err := list(nl, unix.AF_INET); len(rules) == 0 || err != nil {
		t.Errorf("IPv4 has no rules: %v", err)
	}
}

// TestRuleOf: only rules that a tunnel could have made are recognised, because recognised
// rules may be removed.
func TestRuleOf(t *testing.T) {
	of := func(change func(*netlink.Rule)) netlink.Rule {
		r := *netlink.NewRule()
		r.Priority, r.Table = 7, 30567
		change(&r)
		return r
	}
	prefix := netip.MustParsePrefix("10.0.0.0/8")
	_, network, _ := net.ParseCIDR("10.0.0.0/8")
	mask, all := uint32(0xff), ^uint32(0)
	for name, tt := range map[string]struct {
		rule netlink.Rule
		want *apply.Rule // nil: not a tunnel's
	}{
		"a mark": {of(func(r *netlink.Rule) { r.Mark, r.Mask = 5, &all }),
			&apply.Rule{Priority: 7, Table: 30567, Mark: apply.Mark{Value: 5}}},
		"a part of a mark": {of(func(r *netlink.Rule) { r.Mark, r.Mask = 5, &mask }),
			&apply.Rule{Priority: 7, Table: 30567, Mark: apply.Mark{Value: 5, Mask: 0xff}}},
		"no mark": {of(func(r *netlink.Rule) { r.Mark, r.Mask, r.Invert = 5, &all, true }),
			&apply.Rule{Priority: 7, Table: 30567, NotMark: apply.Mark{Value: 5}}},
		"no short routes": {of(func(r *netlink.Rule) { r.Table, r.SuppressPrefixlen = unix.RT_TABLE_MAIN, 0 }),
			&apply.Rule{Priority: 7, AtLeast: 1}},
		"a refusal": {of(func(r *netlink.Rule) { r.Table, r.Mark, r.Mask, r.Invert = 0, 5, &all, true }),
			&apply.Rule{Priority: 7, NotMark: apply.Mark{Value: 5}, Refuses: netip.MustParsePrefix("0.0.0.0/0")}},
		"a refusal of a prefix": {of(func(r *netlink.Rule) {
			r.Table, r.Mark, r.Mask, r.Invert, r.Dst = 0, 5, &all, true, network
		}),
			&apply.Rule{Priority: 7, NotMark: apply.Mark{Value: 5}, Refuses: prefix}},

		"all packets":        {of(func(*netlink.Rule) {}), nil},
		"nothing":            {of(func(r *netlink.Rule) { r.Invert, r.SuppressPrefixlen = true, 0 }), nil},
		"a jump":             {of(func(r *netlink.Rule) { r.Table, r.Mark, r.Invert, r.Goto = 0, 5, true, 100 }), nil},
		"a refusal of marks": {of(func(r *netlink.Rule) { r.Table, r.Mark = 0, 5 }), nil},
		"a destination":      {of(func(r *netlink.Rule) { r.Mark, r.Dst = 5, network }), nil},
		"a source":           {of(func(r *netlink.Rule) { r.Mark, r.Src = 5, network }), nil},
		"an interface":       {of(func(r *netlink.Rule) { r.Mark, r.IifName = 5, "eth0" }), nil},
		"out of one":         {of(func(r *netlink.Rule) { r.Mark, r.OifName = 5, "eth0" }), nil},
		"a protocol":         {of(func(r *netlink.Rule) { r.Mark, r.IPProto = 5, unix.IPPROTO_TCP }), nil},
	} {
		got, ok := ruleOf(tt.rule, netlink.FAMILY_V4)
		if ok != (tt.want != nil) || ok && got != *tt.want {
			t.Errorf("%s: %+v, %t, want %+v", name, got, ok, tt.want)
		}
	}
}

// TestNarrowTables: of the tables into which rules send all without a mark it is known which
// have only a few networks.
func TestNarrowTables(t *testing.T) {
	labtest.OwnNetwork(t)
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	lo, err := nl.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := nl.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	for table, routes := range map[int][]netlink.Route{
		1: {{Dst: network(t, "10.244.1.0/24"), LinkIndex: lo.Attrs().Index},
			{Dst: network(t, "0.0.0.0/0"), Type: unix.RTN_THROW}},
		2: {{Dst: network(t, "10.0.0.0/8"), LinkIndex: lo.Attrs().Index},
			{Dst: network(t, "128.0.0.0/1"), LinkIndex: lo.Attrs().Index}},
		3: {{Dst: network(t, "0.0.0.0/0"), LinkIndex: lo.Attrs().Index}},
	} {
		r := netlink.NewRule()
		r.Family, r.Priority, r.Table, r.Mark, r.Invert = netlink.FAMILY_V4, 90+table, table, 0x100, true
		if err := nl.RuleAdd(r); err != nil {
			t.Fatal(err)
		}
		for _, route := range routes {
			route.Table = table
			if err := nl.RouteAdd(&route); err != nil {
				t.Fatalf("%v: %v", route, err)
			}
		}
	}
	s := &apply.State{}
	view := &tunnel.View{Routes: []tunnel.Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0")}}}
	if err := Observe(nl, s, view, nil); err != nil {
		t.Fatal(err)
	}
	if want := []apply.FamilyTable{{Table: 1}}; !slices.Equal(s.NarrowTables, want) {
		t.Errorf("%v, want %v", s.NarrowTables, want)
	}
}

func network(t *testing.T, prefix string) *net.IPNet {
	t.Helper()
	_, n, err := net.ParseCIDR(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

package foreign_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/foreign"
)

// TestSettleRules: the rules that people write for a default route, as wg-quick makes them, are
// those that apply makes by itself. All others are left out, and the table stays.
func TestSettleRules(t *testing.T) {
	const route, mark = "ip route add default dev wg0 table 77; ", "wg set wg0 fwmark 77; "
	const six = "ip -6 route add default dev wg0 table 77; "
	const tunnel, main = "ip rule add not fwmark 77 table 77; ", "ip rule add table main suppress_prefixlength 0; "
	for _, c := range []struct{ up, down, want string }{
		{route + mark + tunnel + main, "", "0.0.0.0/0 in 0"},
		{route + mark + tunnel + main, "ip rule del not fwmark 77 table 77; ip rule del table main suppress_prefixlength 0",
			"0.0.0.0/0 in 0"},
		{route + "wg set wg0 fwmark 0x4d; ip -4 rule add not from all fwmark 0x4d lookup 77 prio 100; " +
			"ip rule add from all lookup main suppress_prefixlength 0 prio 99", "", "0.0.0.0/0 in 0"},
		{route + "wg set wg0 fwmark 9; ip rule add not fwmark 9 table 77; " + main, "", "0.0.0.0/0 in 0, mark 9"},
		{route + six + mark + tunnel + main + strings.ReplaceAll(tunnel+main, "ip rule", "ip -6 rule"), "",
			"0.0.0.0/0 in 0, ::/0 in 0"},
		// the tunnel takes what is for the host's own networks, or the encrypted packets
		{route + mark + tunnel, "", "0.0.0.0/0 in 77, mark 77, left ip rule add not fwmark 77 table 77"},
		{route + mark + main + tunnel, "", "0.0.0.0/0 in 77, mark 77, left ip rule add table main suppress_prefixlength 0, " +
			"left ip rule add not fwmark 77 table 77"},
		{route + "wg set wg0 fwmark 9; " + tunnel + main, "", "0.0.0.0/0 in 77, mark 9, left ip rule add not fwmark 77 table 77, " +
			"left ip rule add table main suppress_prefixlength 0"},
		{route + mark + "ip rule add not fwmark 77 table 77 prio 100; " + main, "", "0.0.0.0/0 in 0"},
		{route + mark + "ip rule add table main suppress_prefixlength 0 prio 99; " + tunnel, "",
			"0.0.0.0/0 in 77, mark 77, left ip rule add table main suppress_prefixlength 0 prio 99, left ip rule add not fwmark 77 table 77"},
		// of one family only
		{route + six + mark + tunnel + main, "", "0.0.0.0/0 in 0, ::/0 in 77"},
		// other rules
		{route + "ip rule add from 10.0.0.7 table 77", "ip rule del from 10.0.0.7 table 77",
			"0.0.0.0/0 in 77, left ip rule add from 10.0.0.7 table 77, left ip rule del from 10.0.0.7 table 77"},
		{route + mark + "ip rule add not fwmark 77 iif eth0 table 77; " + main, "", "0.0.0.0/0 in 77, mark 77, " +
			"left ip rule add not fwmark 77 iif eth0 table 77, left ip rule add table main suppress_prefixlength 0"},
	} {
		d := &foreign.Device{Name: "wg0"}
		d.Hook(foreign.Pos{}, "PostUp", c.up)
		d.Hook(foreign.Pos{}, "PostDown", c.down)
		d.SettleRules()
		var got []string
		for _, r := range d.Routes {
			got = append(got, fmt.Sprintf("%s in %d", r.Prefix, r.Table))
		}
		if d.FwMark != 0 {
			got = append(got, fmt.Sprint("mark ", d.FwMark))
		}
		for _, l := range d.Left {
			_, command, _ := strings.Cut(l.What, " = ")
			got = append(got, "left "+command)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.up, strings.Join(got, ", "), c.want)
		}
	}
}

// TestSettleRulesOfPeers: routes for allowed IPs are in one table for both families, so the
// rules have to be there for both.
func TestSettleRulesOfPeers(t *testing.T) {
	const four = "ip rule add not fwmark 9 table 77; ip rule add table main suppress_prefixlength 0"
	for _, c := range []struct {
		allowed string
		table   int
	}{{"0.0.0.0/0", 0}, {"0.0.0.0/0 ::/0", 77}, {"::/0", 77}} {
		d := &foreign.Device{Name: "wg0", FwMark: 9, Table: 77, Peers: []foreign.Peer{{Routed: true}}}
		for s := range strings.FieldsSeq(c.allowed) {
			d.Peers[0].AllowedIPs = append(d.Peers[0].AllowedIPs, netip.MustParsePrefix(s))
		}
		d.Hook(foreign.Pos{}, "PostUp", four)
		d.SettleRules()
		if left := len(d.Left); d.Table != c.table || (left == 0) != (c.table == 0) {
			t.Errorf("%s: table %d, %d left out: %v", c.allowed, d.Table, left, slices.Collect(slices.Values(d.Left)))
		}
	}
}

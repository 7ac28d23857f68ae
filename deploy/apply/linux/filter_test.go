package linux_test

import (
	"net"
	"net/netip"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
)

// TestTableIsTheJournals: the table that was made is recognised, whatever passed
// through it, and one that somebody changed is not, also where it has as many
// rules as before.
func TestTableIsTheJournals(t *testing.T) {
	h, v := ready(t)
	f := &apply.Filter{Link: "wg0", Mark: 7, Masquerade: applytest.Prefixes("10.0.0.0/24 2001:db8::/64"),
		Guard: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")}}
	moved := *v
	moved.ListenPort = 30999
	if s, err := h.Observe(t.Context(), "wg0", &moved, nil); err != nil {
		t.Fatal(err)
	} else if s.Redirects {
		f.Redirect = apply.Redirect{From: v.ListenPort, To: moved.ListenPort}
	}
	look := func() *apply.State {
		s, err := h.Observe(t.Context(), "wg0", v, apply.Entries{"filter wg0": {Set: f.String()}})
		must(t, err)
		return s
	}
	table := apply.FilterChange{Link: "wg0", New: f}
	must(t, h.Do(t.Context(), []apply.Change{table}))
	c, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: v.ListenPort})
	must(t, err)
	_, err = c.Write([]byte("counted"))
	must(t, err)
	c.Close()
	if s := look(); s.FilterRules != f.Rules() || s.FilterDiffers {
		t.Errorf("the table as it was made: %d rules, another one: %t; want %d", s.FilterRules, s.FilterDiffers, f.Rules())
	}
	// As `nft list ruleset >/etc/nftables.conf` would keep it for the next boot.
	run(t, "sh", "-c", "nft list table inet wgkeys-wg0 | nft -c -f -")
	for _, script := range []string{
		"flush chain inet wgkeys-wg0 guard",
		"delete chain inet wgkeys-wg0 guard",
		"flush chain inet wgkeys-wg0 masquerading; add rule inet wgkeys-wg0 masquerading accept; add rule inet wgkeys-wg0 masquerading accept",
		"flush chain inet wgkeys-wg0 save-mark; add rule inet wgkeys-wg0 save-mark meta l4proto udp meta mark 0x8 ct mark set meta mark",
		"add chain inet wgkeys-wg0 guard { policy drop; }",
		"add chain inet wgkeys-wg0 more",
		"flush table inet wgkeys-wg0",
	} {
		run(t, "nft", script)
		if s := look(); !s.FilterDiffers {
			t.Errorf("nft %s is not seen: %d rules", script, s.FilterRules)
		}
		must(t, h.Do(t.Context(), []apply.Change{table}))
		if s := look(); s.FilterDiffers {
			t.Fatal("the table made again is another one")
		}
	}
	run(t, "nft", "delete table inet wgkeys-wg0")
	if s := look(); s.FilterRules != 0 || s.FilterDiffers {
		t.Errorf("no table: %d rules, another one: %t", s.FilterRules, s.FilterDiffers)
	}
}

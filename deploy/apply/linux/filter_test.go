package linux_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/lab"
)

// TestTableIsTheJournals: a table is recognised as unchanged whatever packets passed, and
// any change of it is seen, even if the number of rules is the same.
func TestTableIsTheJournals(t *testing.T) {
	h, v := ready(t)
	f := &apply.Filter{Link: "wg0", Mark: apply.Mark{Value: 7, Mask: 0xff}, IPv4: true, IPv6: true, Label: true,
		Isolate: true, Tunnel: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.7"),
			netip.MustParseAddr("2001:db8::1")},
		Inner: []string{"docker0"}, Masquerade: applytest.Prefixes("10.0.0.0/24 2001:db8::/64"),
		Guard: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")}}
	moved := *v
	moved.ListenPort = 30999
	if s, err := h.Observe(t.Context(), "wg0", &moved, nil); err != nil {
		t.Fatal(err)
	} else if s.Redirects {
		f.Redirect = apply.Redirect{From: v.ListenPort, To: moved.ListenPort}
	}
	look := func() *apply.State {
		s, err := h.Observe(t.Context(), "wg0", v, journal.Entries{journal.Filter.Of("wg0"): {Set: f.String()}})
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
		"flush chain inet wgkeys-wg0 answers; add rule inet wgkeys-wg0 answers accept; add rule inet wgkeys-wg0 answers accept",
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

// TestNoSocketExpression: without the nftables module that a redirect needs, the kernel
// counts as unable to redirect, and the trial leaves nothing. Only the emulated machine has
// modules that may be removed.
func TestNoSocketExpression(t *testing.T) {
	const module = "nft_socket"
	if lab.Kernel() != "vm" {
		return
	}
	h, v := ready(t)
	moved := *v
	moved.ListenPort = 30999
	redirects := func() bool {
		s, err := h.Observe(t.Context(), "wg0", &moved, nil)
		must(t, err)
		return s.Redirects
	}
	if !redirects() {
		t.Fatal("no redirect with the module")
	}
	must(t, unix.DeleteModule(module, unix.O_NONBLOCK))
	t.Cleanup(func() {
		f, err := os.Open("/modules/" + module + ".ko")
		must(t, err)
		defer f.Close()
		must(t, unix.FinitModule(int(f.Fd()), "", 0))
	})
	if redirects() {
		t.Error("a redirect without the module")
	}
	if out, err := exec.Command("nft", "list", "tables").Output(); err != nil || len(out) > 0 {
		t.Errorf("tables are left: %v\n%s", err, out)
	}
}

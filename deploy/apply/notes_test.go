package apply_test

import (
	"net/netip"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// planOn is the plan for a view on a new host that look changed.
func planOn(t *testing.T, v *tunnel.View, look func(*apply.State)) *apply.Plan {
	t.Helper()
	h := newHost(t)
	h.install(v)
	j, others := h.journal(t, "wg0")
	state, err := h.Observe(t.Context(), "wg0", v, j.Entries)
	if err != nil {
		t.Fatal(err)
	}
	look(state)
	plan, err := apply.Make(v, state, j, others)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// notes are what the plan for a tunnel file says on a host that look changed.
func notes(t *testing.T, text string, look func(*apply.State)) string {
	t.Helper()
	plan := planOn(t, view(t, text, "shale", nil), look)
	return strings.Join(plan.Notes, "\n")
}

// TestNeedlessProxy: neighbours are asked for only where the prefix is on the
// link. Where the provider routes it the plan warns.
func TestNeedlessProxy(t *testing.T) {
	proxies := strings.Replace(beforeChange, "[hosts.basalt]", "ndp_proxy = true\n[hosts.basalt]", 1)
	for _, test := range []struct {
		name, text string
		look       func(*apply.State)
		want       string
	}{
		{"on-link", proxies, func(*apply.State) {}, ""},
		{"routed", proxies, func(s *apply.State) { s.Uplinks[0].OnLink = []netip.Prefix{netip.MustParsePrefix("2001:db8:5::/64")} },
			"ndp_proxy: 2001:db8:7767::2, INSIDE, is in no prefix that is on-link on eth0; a provider that routes the prefix to this host never asks for it"},
		{"no uplink", proxies, func(s *apply.State) { s.Uplinks = nil }, "no interface has an IPv6 default route"},
		{"not asked for", beforeChange, func(s *apply.State) { s.Uplinks[0].OnLink = nil }, ""},
	} {
		got := notes(t, test.text, test.look)
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: the notes are %q, want %q", test.name, got, test.want)
		}
	}
}

// TestResolvers: the plan is spelled for the program that is there, and says what
// that one cannot do.
func TestResolvers(t *testing.T) {
	v := view(t, strings.Replace(beforeChange, "[hosts.basalt]",
		"dns = [\"10.0.0.53\", \"corp.example\", \"lab.example\", \"~example.net\", \"~.\"]\n[hosts.basalt]", 1), "shale",
		nil)
	for _, test := range []struct{ resolver, step, down, note string }{
		{apply.Resolved, "resolvectl dns wg0 10.0.0.53; resolvectl domain wg0 corp.example lab.example ~example.net ~.",
			"resolvectl revert wg0", ""},
		{apply.Resolvconf, `printf 'nameserver 10.0.0.53\nsearch corp.example lab.example\n' | resolvconf -a vpn.wg0`,
			"resolvconf -d vpn.wg0 -f", "not for example.net alone"},
		{"", "", "", "systemd-resolved does not run here and there is no resolvconf"},
	} {
		h := newHost(t)
		look := func(v *tunnel.View) (*apply.State, *journal.Journal) {
			h.install(v)
			j, _ := h.journal(t, "wg0")
			s, err := h.Observe(t.Context(), "wg0", v, j.Entries)
			if err != nil {
				t.Fatal(err)
			}
			s.Resolver, s.Record = test.resolver, "vpn.wg0"
			return s, j
		}
		state, j := look(v)
		plan, err := apply.Make(v, state, j, nil)
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(plan.Notes, "\n")
		if !strings.Contains(spelled(plan), test.step) || !strings.Contains(notes, test.note) || test.note == "" &&
			notes != "" {
			t.Errorf("%q: the plan is\n%s%s", test.resolver, spelled(plan), notes)
		}
		if err := apply.Run(t.Context(), h.kernel, j, plan, func(apply.Step) {}); err != nil || test.resolver == "" {
			continue
		}
		state, j = look(v)
		if plan, _ := apply.Make(v, state, j, nil); len(plan.Steps) > 0 {
			t.Errorf("%q: the second plan is\n%s", test.resolver, spelled(plan))
		}
		state.ForgotDNS = true
		if plan, _ := apply.Make(v, state, j, nil); len(plan.Steps) != 1 || !strings.Contains(spelled(plan), test.step) {
			t.Errorf("%q: forgotten, the plan is\n%s", test.resolver, spelled(plan))
		}
		if plan := apply.MakeDown("wg0", state, j, nil); !strings.Contains(spelled(plan), test.down) {
			t.Errorf("%q: down is\n%s", test.resolver, spelled(plan))
		}
	}
}

// TestWhoAdvertises: router advertisements that another program handles are left
// to it, and the plan says what to set there. Those that the kernel handles it
// goes on handling (TestFirstUsers).
func TestWhoAdvertises(t *testing.T) {
	const left = "eth0 has its default route from router advertisements that another program handles (accept_ra=0), which is left alone"
	for _, test := range []struct {
		name     string
		managers []string
		accept   string
		want     []string
	}{
		{"the kernel", nil, "1", nil},
		{"the kernel, beside managers", []string{apply.Networkd, apply.NetworkManager}, "1", nil},
		{"somebody", nil, "0", []string{left}},
		{"systemd-networkd", []string{apply.Networkd}, "0",
			[]string{left, "set IPv6AcceptRA=yes in the .network file of eth0"}},
		{"NetworkManager", []string{apply.NetworkManager}, "0",
			[]string{left, "if that is NetworkManager: it goes on accepting them"}},
	} {
		got := notes(t, beforeChange, func(s *apply.State) {
			s.Managers = test.managers
			s.Sysctls["net/ipv6/conf/eth0/accept_ra"] = test.accept
		})
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in %q", test.name, want, got)
			}
		}
		if test.want == nil && got != "" {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

// TestLeased: a route to the tunnel's own network that a DHCP client made is a finding, with what to
// run; any other one of it is not.
func TestLeased(t *testing.T) {
	v := view(t, "[hosts.shale]\naddresses = [\"10.9.0.1/24\"]\nendpoint = \"192.0.2.1\"\n", "shale", nil)
	for prefix, want := range map[string]bool{"10.9.0.0/24": true, "10.8.0.0/24": false} {
		plan := planOn(t, v, func(s *apply.State) { s.Leased = append(s.Leased, netip.MustParsePrefix(prefix)) })
		found := strings.Join(plan.Findings, "\n")
		if got := strings.Contains(found, "echo denyinterfaces wg0 >>/etc/dhcpcd.conf"); got != want {
			t.Errorf("%s: %q", prefix, plan.Findings)
		}
	}
}

package apply_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
)

const everythingV4 = "[hosts.shale]\nendpoint = \"93.93.130.7\"\nroutes = [\"0.0.0.0/0\", \"93.93.130.0/24\", \"93.0.0.0/9\"]\n[hosts.basalt]\naddresses = [\"10.7.0.2/32\"]\n"

// TestFromTheVersionBefore: a tunnel with the mark 51820, compared whole and kept
// with connections, becomes one of today, and at no moment are its encrypted packets
// caught.
func TestFromTheVersionBefore(t *testing.T) {
	h, fresh, v := newHost(t), newHost(t), view(t, everythingV4, "basalt", nil)
	fresh.apply(t, v)
	origin := h.dump()
	h.apply(t, v)
	h.beforeMasks(t)
	h.hook = func(m moment, _ int, c apply.Change) error {
		if r, caught := h.catchesItself("wg0"); m == after && caught {
			t.Errorf("after %s, %s sends encrypted packets into the tunnel", c, r)
		}
		for _, mark := range []uint32{0x57, 51820} { // what comes in has the one, then the other
			if r, caught := h.catches("wg0", mark); m == after && caught && c.Resource().Kind == journal.Filter {
				t.Errorf("after %s, %s would have the reverse path of mark %#x be the tunnel", c, r, mark)
			}
		}
		return nil
	}
	plan := h.apply(t, v)
	h.hook = nil
	if d := diff(fresh.dump(), h.dump()); d != "" {
		t.Errorf("another state than from nothing:\n%s%s", d, spelled(plan))
	}
	h.down(t, "wg0")
	if d := diff(origin, h.dump()); d != "" {
		t.Errorf("down leaves\n%s", d)
	}
}

// beforeMasks makes the host what the version before would have made of it: one pair
// of rules, without masks.
func (h *host) beforeMasks(t *testing.T) {
	t.Helper()
	path := filepath.Join(h.dir, "wg0.journal")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if kind := strings.Fields(line)[1]; kind != "rule" && kind != "unreachable" && kind != "filter" {
			lines = append(lines, line)
		}
	}
	h.nowhere, h.rules = nil, []apply.Rule{{Priority: 32764, AtLeast: 1},
		{Priority: 32765, NotMark: apply.Mark{Value: 51820}, Table: 51820}}
	for _, r := range h.rules {
		lines = append(lines, "+\trule "+r.String()+"\t\tmade\n")
	}
	lines = append(lines,
		"+\tfilter wg0\t\tip daddr 10.7.0.2 iifname != wg0 fib saddr type != local drop; udp mark 0xca6c kept with its connection\n")
	h.links["wg0"].device.FwMark = 51820
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRulesByLength: of the main table's routes and the tunnel's the longest wins,
// as it would in one table.
func TestRulesByLength(t *testing.T) {
	h := newHost(t)
	h.apply(t, view(t, everythingV4, "basalt", nil))
	var got []string
	for _, r := range h.rules {
		got = append(got, r.String())
	}
	want := []string{
		"-4 priority 32760 table main suppress_prefixlength 23",
		"-4 priority 32761 not fwmark 0x57/0xff table 51820 suppress_prefixlength 23",
		"-4 priority 32762 table main suppress_prefixlength 8",
		"-4 priority 32763 not fwmark 0x57/0xff table 51820 suppress_prefixlength 8",
		"-4 priority 32764 table main suppress_prefixlength 7", "-4 priority 32765 not fwmark 0x57/0xff table 51820",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the rules are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestChosenMark has no bit of other programs', and is one that no rule of theirs
// takes for its own.
func TestChosenMark(t *testing.T) {
	others := []apply.Mark{{Value: 0x57, Mask: 0xff}, {Value: 8, Mask: 0xf}}
	h := newHost(t)
	for i, m := range others {
		h.rules = append(h.rules, apply.Rule{IPv6: true, Priority: 1000 + i, Mark: m, Table: 51820 + i})
	}
	h.apply(t, view(t, everythingV4, "basalt", nil))
	mark := h.links["wg0"].device.FwMark
	if mark != 0x59 {
		t.Errorf("the mark is %#x", mark)
	}
	for _, bits := range []uint32{0x8000, 0x4000, 0x2000, 0x0f00, 0x3f00, 0xff0000, 0xffff0000, 0x80} {
		if mark&bits != 0 {
			t.Errorf("the mark %#x has bits of %#x", mark, bits)
		}
	}
	if !slices.ContainsFunc(h.rules, func(r apply.Rule) bool { return r.NotMark.Value == mark && r.Table == 51822 }) {
		t.Errorf("the rules are %v", h.rules)
	}
}

// TestMarkOfBits: a rule that looks for single bits has none of those that the tunnel
// marks with, also one that comes later.
func TestMarkOfBits(t *testing.T) {
	for _, taken := range [][]apply.Mark{
		{{Value: 0x01, Mask: 0x01}}, {{Value: 0x10, Mask: 0x10}}, {{Value: 0x40, Mask: 0x40}}, {{Value: 0x50, Mask: 0xf0}},
		{{Value: 0x20, Mask: 0x20}, {Value: 0x40, Mask: 0x40}, {Value: 0x10, Mask: 0x10}},
	} {
		for _, later := range []bool{false, true} {
			h := newHost(t)
			v := view(t, everythingV4, "basalt", nil)
			if later {
				h.apply(t, v)
			}
			for i, m := range taken {
				h.rules = append(h.rules, apply.Rule{Priority: 100 + i, Mark: m, Table: 100})
			}
			h.apply(t, v)
			mark := h.links["wg0"].device.FwMark
			if r, caught := h.catchesItself("wg0"); mark == 0 || caught {
				t.Errorf("%v, later %t: %s takes the mark %#x", taken, later, r, mark)
			}
			for _, m := range taken {
				if m.In(mark) {
					t.Errorf("%v, later %t: the rule for %v takes the mark %#x", taken, later, m, mark)
				}
			}
			if again, _ := h.plan(t, v); len(again.Steps) != 0 {
				t.Errorf("%v, later %t: the next plan has %v", taken, later, again.Steps)
			}
		}
	}
}

// TestAstray: one address may have a route of its own, two are no accident.
func TestAstray(t *testing.T) {
	v := view(t, everythingV4, "basalt", nil)
	ways := func(links ...string) (list []apply.Way) {
		for _, link := range links {
			list = append(list, apply.Way{Prefix: v.Routes[0].Prefix, Link: link})
		}
		return list
	}
	for _, c := range []struct {
		links []string
		found bool
	}{{[]string{"wg0", "wg0", "wg0"}, false}, {[]string{"wg0", "eth0", "wg0"}, false},
		{[]string{"eth0", "wg0", "eth0"}, true}, {[]string{""}, true}} {
		if got := (&apply.Plan{View: v}).Astray(ways(c.links...)); (got != nil) != c.found {
			t.Errorf("%q: %q", c.links, got)
		}
	}
}

// TestAstrayNarrow: of narrow routes the first is reported, with how many others there are, but for
// those that another interface has too.
func TestAstrayNarrow(t *testing.T) {
	v := view(t, besideTunnel, "a", nil)
	beside, only := netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("192.168.0.0/16")
	both := []apply.Way{{Prefix: beside, Addr: beside.Addr(), Link: "eth1"}, {Prefix: only, Addr: only.Addr()}}
	const also = " (and likewise with one other route)"
	if got := (&apply.Plan{View: v}).Astray(both); len(got) != 1 || !strings.HasPrefix(got[0], beside.String()) ||
		!strings.HasSuffix(got[0], also) {
		t.Errorf("both: %q", got)
	}
	got := (&apply.Plan{View: v, Beside: []netip.Prefix{beside}}).Astray(both)
	if len(got) != 1 || !strings.HasPrefix(got[0], only.String()) || strings.HasSuffix(got[0], also) {
		t.Errorf("the one that is not told of: %q", got)
	}
	both[0].Local, both[1].Link = true, "wg0"
	if got := (&apply.Plan{View: v}).Astray(both); got != nil {
		t.Errorf("the host's own address: %q", got)
	}
}

// TestPiecesOfADefaultRoute: what of a default route in pieces is too narrow for policy
// routing is unreachable without the interface, but for what is private, what another
// piece covers, and all of it where somebody wants none of that.
func TestPiecesOfADefaultRoute(t *testing.T) {
	for _, c := range []struct{ routes, also, want string }{
		{`"8.0.0.0/7", "11.0.0.0/8", "172.32.0.0/11"`, "", "[8.0.0.0/7 51820 11.0.0.0/8 254 172.32.0.0/11 254]"},
		{`"8.0.0.0/7", "11.0.0.0/8", "11.5.0.0/16"`, "", "[8.0.0.0/7 51820 11.0.0.0/8 254]"},
		{`"8.0.0.0/7", "10.20.0.0/16", "100.64.0.0/16"`, "", "[8.0.0.0/7 51820]"},
		{`"8.0.0.0/7", "9.0.0.0/16"`, "", "[8.0.0.0/7 51820]"},
		{`"11.0.0.0/8", "172.32.0.0/11"`, "", "[]"},
		{`"2000::/4", "3000::/8", "fd00:5::/32", "11.0.0.0/8"`, "", "[2000::/4 51820 3000::/8 254]"},
		{`"8.0.0.0/7", "11.0.0.0/8"`, "kill_switch = false", "[]"},
	} {
		h := newHost(t)
		h.apply(t, view(t, `[hosts.shale]
endpoint = "93.93.130.7"
addresses = ["10.7.0.1/24", "2001:db8:7767::1/128"]
routes = [`+c.routes+`]
[hosts.basalt]
addresses = ["10.7.0.2/32", "2001:db8:7767::2/128"]
`+c.also+"\n", "basalt", nil))
		var got []string
		for _, u := range h.nowhere {
			got = append(got, fmt.Sprintf("%s %d", u.Prefix, u.Table))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s %s: unreachable are %s, want %s", c.routes, c.also, got, c.want)
		}
	}
}

// TestRoutedForAName: policy routing that one address of a name needs is there while another
// is in use, and is not taken back by a plan that has not looked the name up.
func TestRoutedForAName(t *testing.T) {
	v := view(t, strings.NewReplacer("192.0.2.1", "a.example.net", "0.0.0.0/0", "198.18.0.0/24").Replace(allThroughShale),
		"basalt", nil)
	h := newHost(t)
	inside, elsewhere := netip.MustParseAddrPort("198.18.0.7:51820"), netip.MustParseAddrPort("192.0.2.1:51820")
	name := v.Peers[0].Endpoint
	h.names[name] = apply.Endpoint{Addr: elsewhere, More: []netip.AddrPort{inside}}
	h.apply(t, v)
	for title, found := range map[string]map[string]apply.Endpoint{
		"not looked up": nil,
		"not found":     {name: {Err: errStop}},
		"both":          {name: h.names[name]},
		"the other":     {name: {Addr: elsewhere}},
	} {
		j, others := h.journal(t, "wg0")
		state, err := h.Observe(t.Context(), "wg0", v, j.Entries)
		if err != nil {
			t.Fatal(err)
		}
		state.Endpoints = found
		plan, err := apply.Make(v, state, j, others)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(plan.Steps) > 0, title == "the other"; got != want {
			t.Errorf("%s: it takes steps: %t, want %t\n%s", title, got, want, spelled(plan))
		}
	}
}

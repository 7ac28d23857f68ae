package apply_test

import (
	"net/netip"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
)

// TestUnroutedEndpoints: a peer to none of whose addresses there is a way is found, and no
// other.
func TestUnroutedEndpoints(t *testing.T) {
	const file = `[hosts.shale]
endpoint = "SHALE"
addresses = ["2001:db8:7767::1/128"]
[hosts.basalt]
addresses = ["2001:db8:7767::2/128"]
routes = []
`
	const lost, name, v6 = "nothing can be sent to shale at ", "a.example.net", "2001:db8::1"
	for title, tt := range map[string]struct {
		endpoint, live, unrouted, want string
		names                          []string
	}{
		"a way":                         {endpoint: "192.0.2.1"},
		"none":                          {endpoint: "192.0.2.1", unrouted: "192.0.2.1", want: lost + "192.0.2.1, OUTSIDE"},
		"another's":                     {endpoint: "192.0.2.1", unrouted: "192.0.2.2"},
		"it came from elsewhere":        {endpoint: "192.0.2.1", live: "198.51.100.1", unrouted: "192.0.2.1"},
		"one of a name's addresses":     {endpoint: name, names: []string{v6, "192.0.2.1"}, unrouted: v6},
		"all of a name's addresses":     {endpoint: name, names: []string{v6}, unrouted: v6, want: lost + v6},
		"a name that leads nowhere":     {endpoint: name, unrouted: "192.0.2.1"},
		"IPv6 is asked for as such":     {endpoint: v6, unrouted: v6, want: "ip -6 route get " + v6},
		"who comes to us is not sought": {unrouted: "192.0.2.1"},
	} {
		text := strings.Replace(file, "SHALE", tt.endpoint, 1)
		host := "basalt"
		if tt.endpoint == "" {
			text, host = strings.Replace(file, "SHALE", "192.0.2.1", 1), "shale"
		}
		v := view(t, text, host, nil)
		h := newHost(t)
		h.install(v)
		j, others := h.journal(t, "wg0")
		state, err := h.Observe(t.Context(), "wg0", v, j.Entries)
		if err != nil {
			t.Fatal(err)
		}
		if tt.unrouted != "" {
			state.Unrouted = map[netip.Addr]bool{netip.MustParseAddr(tt.unrouted): true}
		}
		if tt.live != "" {
			from := netip.AddrPortFrom(netip.MustParseAddr(tt.live), 9)
			state.Peers = []apply.Peer{{PublicKey: v.Peers[0].PublicKey, Endpoint: from}}
		}
		var e apply.Endpoint
		for _, a := range tt.names {
			e.More = append(e.More, netip.AddrPortFrom(netip.MustParseAddr(a), 51820))
		}
		if len(e.More) > 0 {
			e.Addr, e.More = e.More[0], e.More[1:]
			state.Endpoints = map[string]apply.Endpoint{v.Peers[0].Endpoint: e}
		}
		plan, err := apply.Make(v, state, j, others)
		if err != nil {
			t.Fatalf("%s: %v", title, err)
		}
		got := strings.Join(plan.Findings, "\n")
		if tt.want == "" && strings.Contains(got, "nothing can be sent") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: the findings are %q, want %q", title, got, tt.want)
		}
	}
}

// allThroughShale is a tunnel that basalt sends everything through.
const allThroughShale = `[hosts.shale]
endpoint = "192.0.2.1"
addresses = ["10.9.0.1/24"]
routes = ["0.0.0.0/0"]
[hosts.basalt]
addresses = ["10.9.0.2/32"]
`

// TestLoopedEndpoints: encrypted packets that a foreign route leads into the tunnel are
// found, where the peer is now.
func TestLoopedEndpoints(t *testing.T) {
	v := view(t, allThroughShale, "basalt", nil)
	h := newHost(t)
	h.apply(t, v)
	j, others := h.journal(t, "wg0")
	state, err := h.Observe(t.Context(), "wg0", v, j.Entries)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"192.0.2.1": "nothing is sent to shale at 192.0.2.1, OUTSIDE: a route or rule that is not wgkeys' leads there " +
			"through wg0 itself: ip -4 route get 192.0.2.1 mark 0x57 ipproto udp dport 51820",
		"192.0.2.2": "",
	} {
		state.Looped = map[netip.Addr]bool{netip.MustParseAddr(addr): true}
		plan, err := apply.Make(v, state, j, others)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(plan.Findings, "\n"); got != want {
			t.Errorf("%s: the findings are %q, want %q", addr, got, want)
		}
	}
}

// TestComingBack: encrypted packets that come back by another tunnel, or as IPv6, are found, and
// a link that belongs to a VRF, of which the tunnel file says nothing.
func TestComingBack(t *testing.T) {
	both := strings.Replace(allThroughShale, `"0.0.0.0/0"`, `"0.0.0.0/0", "::/0"`, 1)
	hub := netip.MustParseAddr("192.0.2.1")
	circle := func(s *apply.State) {
		s.Circles = map[netip.Addr]apply.Circle{hub: {[]string{"wg1", "six"}, netip.MustParseAddr("198.51.100.9")}}
	}
	clat := func(s *apply.State) { s.Translated = map[netip.Addr]string{hub: "clat"} }
	vrf := func(s *apply.State) { s.Master = "vrf1" }
	for title, tt := range map[string]struct {
		text string
		look func(*apply.State)
		want string
	}{
		"a circle": {both, circle, "nothing is sent to shale at 192.0.2.1, OUTSIDE: it is routed into wg1, that into six, and " +
			"what six sends to 198.51.100.9, OUTSIDE, into wg0 again"},
		"CLAT": {both, clat, "nothing gets to shale at 192.0.2.1, OUTSIDE: clat makes IPv6 of what is sent there (464XLAT), and " +
			"all IPv6 goes into wg0. Write an IPv6 address of shale, or what NAT64 has for this one, as endpoint under " +
			"[hosts.basalt.peer.shale]"},
		"CLAT, and IPv6 goes out": {allThroughShale, clat, ""},
		"a VRF":                   {both, vrf, "wg0 belongs to vrf1: "},
		"a VRF that is meant":     {strings.Replace(both, "[hosts.basalt]", "[hosts.basalt]\ntable = 90", 1), vrf, ""},
	} {
		v := view(t, tt.text, "basalt", nil)
		h := newHost(t)
		h.apply(t, v)
		j, others := h.journal(t, "wg0")
		state, err := h.Observe(t.Context(), "wg0", v, j.Entries)
		if err != nil {
			t.Fatal(err)
		}
		tt.look(state)
		plan, err := apply.Make(v, state, j, others)
		if err != nil {
			t.Fatal(err)
		}
		mustSay(t, title, plan.Findings, tt.want)
	}
}

// TestUnroutedWhenTheLinkIsGone: our own rules refuse what carries no mark; that is no
// trouble of the way to the peer.
func TestUnroutedWhenTheLinkIsGone(t *testing.T) {
	v := view(t, allThroughShale, "basalt", nil)
	h := newHost(t)
	h.install(v)
	j, others := h.journal(t, "wg0")
	ours := apply.Rule{Priority: 32765, NotMark: apply.Mark{Value: 0x57, Mask: 0xff}, Table: 51820}
	j.Entries[apply.RuleChange{Rule: ours}.Resource()] = journal.Entry{}
	state, err := h.Observe(t.Context(), "wg0", v, j.Entries)
	if err != nil {
		t.Fatal(err)
	}
	state.Unrouted = map[netip.Addr]bool{netip.MustParseAddr("192.0.2.1"): true}
	for rules, want := range map[*[]apply.Rule]bool{{}: true, {ours}: false} {
		state.Rules = *rules
		plan, err := apply.Make(v, state, j, others)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(plan.Findings, "\n"), "nothing can be sent"); got != want {
			t.Errorf("rules %v: found %t, want %t", *rules, got, want)
		}
	}
}

// TestBesideAnotherMark: a rule of another program that sends all without its mark to a few
// networks is no second tunnel; one that sends it everywhere is.
func TestBesideAnotherMark(t *testing.T) {
	v := view(t, allThroughShale, "basalt", nil)
	for narrow, refused := range map[int]bool{1: false, 2: true} {
		h := newHost(t)
		h.install(v)
		j, others := h.journal(t, "wg0")
		state, err := h.Observe(t.Context(), "wg0", v, j.Entries)
		if err != nil {
			t.Fatal(err)
		}
		mark := apply.Mark{Value: 1 << 20, Mask: 1 << 20}
		state.Rules = append(state.Rules, apply.Rule{Priority: 99, NotMark: mark, Table: 1})
		state.NarrowTables = []apply.FamilyTable{{Table: narrow}}
		_, err = apply.Make(v, state, j, others)
		if (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "another tunnel does so already") {
			t.Errorf("narrow table %d: %v", narrow, err)
		}
	}
}

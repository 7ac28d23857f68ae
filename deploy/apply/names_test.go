package apply_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

const hubName = "vpn.example.net:51820"

// named is a view with peers whose endpoints are names, what the kernel has of them
// at the first of addrs, and a journal that says that the names were set.
func named(t *testing.T, names []string, at string) (*tunnel.View, *apply.State, *journal.Journal) {
	t.Helper()
	v := &tunnel.View{Tunnel: "wg0", Host: "basalt", PublicKey: applytest.PublicKey("basalt"),
		PrivateKeyFile: "/etc/wireguard/wg0.key"}
	s := &apply.State{LinkIndex: 7, Link: &apply.Link{Kind: "wireguard", MTU: apply.DefaultMTU, Up: true},
		Device: apply.Device{PublicKey: v.PublicKey}, Endpoints: map[string]apply.Endpoint{}, Sysctls: map[string]string{}}
	j := &journal.Journal{Entries: journal.Entries{journal.Link.Of("wg0"): {Set: "7"}}}
	for i, name := range names {
		p := tunnel.Peer{Name: fmt.Sprintf("peer%d", i), PublicKey: applytest.PublicKey(fmt.Sprint(i)), Endpoint: name,
			AllowedIPs: applytest.Prefixes(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))}
		v.Peers = append(v.Peers, p)
		live := apply.Peer{PublicKey: p.PublicKey, AllowedIPs: p.AllowedIPs}
		if at != "" {
			live.Endpoint = netip.MustParseAddrPort(at)
			j.Entries[journal.OfPeer(p.PublicKey)] = journal.Entry{Set: name}
		}
		s.Peers = append(s.Peers, live)
	}
	return v, s, j
}

func addrs(list ...string) (e apply.Endpoint) {
	for _, a := range list {
		e.More = append(e.More, netip.MustParseAddrPort(a))
	}
	e.Addr, e.More = e.More[0], e.More[1:]
	return e
}

// TestMovedName: a name that was looked up again is followed only where it does not
// lead to where the peer is.
func TestMovedName(t *testing.T) {
	const old, next, other = "192.0.2.1:51820", "192.0.2.77:51820", "[2001:db8::1]:51820"
	for _, test := range []struct {
		name  string
		found apply.Endpoint
		step  string
	}{
		{"not looked up", apply.Endpoint{}, ""},
		{"where it was", addrs(old), ""},
		{"among others", addrs(other, old), ""},
		{"elsewhere", addrs(next, other), "endpoint 192.0.2.77:51820  # peer peer0 does not answer at 192.0.2.1:51820, and " +
			hubName + ", OUTSIDE, leads elsewhere now"},
		{"nowhere", apply.Endpoint{Err: errors.New("no such host")}, ""},
	} {
		v, s, j := named(t, []string{hubName}, old)
		s.Endpoints[hubName] = test.found
		plan, err := apply.Make(v, s, j, nil)
		if err != nil {
			t.Fatal(err)
		}
		var steps []string
		for _, step := range plan.Steps {
			steps = append(steps, step.Change.String()+"  # "+step.Why)
		}
		if got := strings.Join(steps, "\n"); test.step == "" && got != "" || !strings.HasSuffix(got, test.step) {
			t.Errorf("%s: the steps are %q, want %q", test.name, got, test.step)
		}
		if noted := strings.Contains(strings.Join(plan.Notes, ""), "no such host"); noted != (test.found.Err != nil) {
			t.Errorf("%s: the notes are %q", test.name, plan.Notes)
		}
	}
}

// TestUnresolvedNames: one note, of however many.
func TestUnresolvedNames(t *testing.T) {
	for count, want := range map[int]string{
		1:   "peer peer0: its endpoint h0.example.net:51820, OUTSIDE, cannot be resolved now: no answer in time",
		2:   "the endpoints of 2 peers, OUTSIDE, cannot be resolved now: peer0 at h0.example.net:51820 (no answer in time), peer1 at h1.example.net:51820 (no answer in time)",
		299: "peer2 at h2.example.net:51820 (no answer in time) and 296 more",
	} {
		var names []string
		for i := range count {
			names = append(names, fmt.Sprintf("h%d.example.net:51820", i))
		}
		v, s, j := named(t, names, "")
		for _, name := range names {
			s.Endpoints[name] = apply.Endpoint{Err: errors.New("no answer in time")}
		}
		plan, err := apply.Make(v, s, j, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(plan.Notes) != 1 || !strings.HasSuffix(plan.Notes[0], want) {
			t.Errorf("%d peers: the notes are %q, want %q", count, plan.Notes, want)
		}
	}
}

func TestOverdue(t *testing.T) {
	now := time.Now()
	at := netip.MustParseAddrPort("192.0.2.1:51820")
	for _, test := range []struct {
		name string
		peer apply.Peer
		want bool
	}{
		{"nothing sent", apply.Peer{Endpoint: at}, false},
		{"no endpoint", apply.Peer{Sent: 148}, false},
		{"never shaken", apply.Peer{Endpoint: at, Sent: 148}, true},
		{"shaken lately", apply.Peer{Endpoint: at, Sent: 148, LastHandshake: now.Add(-134 * time.Second)}, false},
		{"shaken long ago", apply.Peer{Endpoint: at, Sent: 148, LastHandshake: now.Add(-136 * time.Second)}, true},
		{"the clock was set back", apply.Peer{Endpoint: at, Sent: 148, LastHandshake: now.Add(time.Hour)}, false},
	} {
		if got := test.peer.Overdue(now); got != test.want {
			t.Errorf("%s: overdue is %t", test.name, got)
		}
	}
}

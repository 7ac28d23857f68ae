package draft_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/draft"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
)

// manyPeers returns a hub and a spoke with so many peers of all kinds.
func manyPeers(t *testing.T, peers int) (hub, spoke *foreign.Device) {
	hub, spoke = device(t, "hub", "10.0.0.1/8", "fd00::1/64"), device(t, "spoke", "10.0.0.2/8")
	hub.ListenPort = 51820
	hub.Peers = append(hub.Peers, peer(spoke, 1, "10.0.0.2/32"))
	spoke.Peers = append(spoke.Peers, peer(hub, 1, "10.0.0.1/32"))
	spoke.Peers[0].Endpoint = "192.0.2.9:51820"
	for i := 2; i < peers; i++ {
		p := foreign.Peer{Pos: foreign.Pos{File: "hub.conf", Line: i}, Routed: true}
		p.PublicKey = keyring.PublicKey{9, byte(i), byte(i >> 8)}
		p.AllowedIPs = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32)}
		p.Endpoint = fmt.Sprintf("192.0.2.1:%d", i)
		vary(&p, i)
		if hub.Peers = append(hub.Peers, p); i%50 == 0 {
			p.Pos.File = "spoke.conf"
			spoke.Peers = append(spoke.Peers, p)
		}
	}
	return hub, spoke
}

// vary makes eight of nine peers unlike the others.
func vary(p *foreign.Peer, i int) {
	switch i % 9 {
	case 1:
		p.Name = "phone" // that of many
	case 2:
		p.Comment = []string{"Client tablet-" + fmt.Sprint(i), "it is lost"}
	case 3:
		p.Endpoint = fmt.Sprintf("h%d.example.net:1", i/20)
	case 4:
		p.Endpoint = "0.0.0.0:1" // no tunnel has that
	case 5:
		p.AllowedIPs, p.Endpoint = []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("fd00::%x/128", i))}, ""
	case 6:
		p.AllowedIPs, p.Keepalive = nil, i%70
	case 7:
		p.AllowedIPs[0] = netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i), 0}), 24)
	case 8:
		p.Comment = []string{"it was " + strings.Repeat("A", 43) + " = B"}
	}
}

// TestProcessors: the draft of a large tunnel is the same on one processor and on several, with
// all that is left out.
func TestProcessors(t *testing.T) {
	const peers = 5000
	hub, spoke := manyPeers(t, peers)
	make := func(processors int) *draft.Draft {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		devices := []*foreign.Device{}
		for _, d := range []foreign.Device{*hub, *spoke} { // which are changed
			d.Peers = append([]foreign.Peer(nil), d.Peers...)
			devices = append(devices, &d)
		}
		d, err := draft.Make(devices)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := make(1)
	if got := make(4); !reflect.DeepEqual(got, want) {
		t.Errorf("%d hosts and %d bytes, %d left out; on several processors %d and %d, %d left out",
			len(want.Hosts), len(want.Text), len(want.Left), len(got.Hosts), len(got.Text), len(got.Left))
	}
	for _, said := range []string{
		"[hosts.phone-555]\n", "[hosts.tablet-2000]\n", "[hosts.peer-10-1-0-90]\n", "[hosts.h100]\n",
		"[hosts.peer-fd00-e]\n", "# it is lost\n", "addresses = [\"10.1.0.90\"]\n", "routes = [\"11.0.7.0/24\"]\n",
	} {
		if !strings.Contains(string(want.Text), said) {
			t.Errorf("%q is missing in\n%.2000s", said, want.Text)
		}
	}
	if len(want.Hosts) != peers || !strings.Contains(left(want), "0.0.0.0") {
		t.Errorf("%d hosts; left out: %.500s", len(want.Hosts), left(want))
	}
}

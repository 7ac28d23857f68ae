package draft_test

import (
	"net/netip"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/draft"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
)

// device is one of a host with a key of its own.
func device(t *testing.T, host string, addresses ...string) *foreign.Device {
	t.Helper()
	key, err := keyring.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	d := &foreign.Device{Pos: foreign.Pos{File: host + ".conf", Line: 1}, Name: "wg0", Host: host, PrivateKey: key}
	for _, a := range addresses {
		d.Addresses = append(d.Addresses, foreign.Address{Local: netip.MustParsePrefix(a)})
	}
	return d
}

// peer is an entry of the interface of d.
func peer(d *foreign.Device, line int, allowed ...string) foreign.Peer {
	p := foreign.Peer{Pos: foreign.Pos{File: "of.conf", Line: line}, PublicKey: d.PrivateKey.PublicKey(), Routed: true}
	for _, a := range allowed {
		p.AllowedIPs = append(p.AllowedIPs, netip.MustParsePrefix(a))
	}
	return p
}

func left(d *draft.Draft) string {
	var lines []string
	for _, l := range d.Left {
		lines = append(lines, l.Pos.File+": "+l.What+": "+l.Why)
	}
	return strings.Join(lines, "\n")
}

// TestJoin: of two hosts that know each other there is nothing unmanaged, and nothing left.
func TestJoin(t *testing.T) {
	hub, spoke := device(t, "hub", "10.0.0.1/24"), device(t, "spoke", "10.0.0.2/24")
	hub.ListenPort = 51820
	hub.Peers = []foreign.Peer{peer(spoke, 5, "10.0.0.2/32")}
	spoke.Peers = []foreign.Peer{peer(hub, 7, "10.0.0.0/24")}
	spoke.Peers[0].Endpoint = "hub.example.net:51820"
	d, err := draft.Make([]*foreign.Device{hub, spoke})
	if err != nil || len(d.Left) > 0 {
		t.Fatal(err, left(d))
	}
	if text := string(d.Text); strings.Contains(text, "managed") || strings.Contains(text, "reachable") ||
		!strings.Contains(text, `endpoint = "hub.example.net"`) {
		t.Error(text)
	}
}

// TestOneSided: a host that another one does not know becomes a peer of both, which is told.
func TestOneSided(t *testing.T) {
	hub, spoke := device(t, "hub", "10.0.0.1/24"), device(t, "spoke", "10.0.0.2/24")
	spoke.Peers = []foreign.Peer{peer(hub, 7, "10.0.0.0/24")}
	spoke.Peers[0].Endpoint = "hub.example.net:51820"
	d, err := draft.Make([]*foreign.Device{hub, spoke})
	if err != nil || !strings.Contains(left(d), "hub.conf: [Peer] spoke: it is not in this file") {
		t.Error(err, left(d))
	}
}

// TestOneKeyTwice: neither two hosts of one key, nor two files of one host, nor two
// preshared keys of one pair become a tunnel.
func TestOneKeyTwice(t *testing.T) {
	hub, spoke := device(t, "hub", "10.0.0.1/24"), device(t, "spoke", "10.0.0.2/24")
	same := *hub
	if _, err := draft.Make([]*foreign.Device{hub, &same}); err == nil ||
		!strings.Contains(err.Error(), "host hub has wg0 already") {
		t.Error(err)
	}
	same.Host = "other"
	if _, err := draft.Make([]*foreign.Device{hub, &same}); err == nil ||
		!strings.Contains(err.Error(), "two hosts with one private key") {
		t.Error(err)
	}
	hub.Peers, spoke.Peers = []foreign.Peer{peer(spoke, 5, "10.0.0.2/32")}, []foreign.Peer{peer(hub, 7, "10.0.0.1/32")}
	for _, p := range []*foreign.Peer{&hub.Peers[0], &spoke.Peers[0]} {
		var err error
		if p.PresharedKey, err = keyring.GeneratePresharedKey(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := draft.Make([]*foreign.Device{hub, spoke}); err == nil ||
		!strings.Contains(err.Error(), "two preshared keys of one pair of hosts") {
		t.Error(err)
	}
}

// TestNames: peers are named by what stands beside them, whoever wrote it.
func TestNames(t *testing.T) {
	for _, test := range []struct {
		name, description string
		comments          []string
		endpoint, want    string
	}{
		{comments: []string{"phone"}, want: "phone"},
		{comments: []string{"Name = Anna's Laptop"}, want: "anna-s-laptop"},
		{comments: []string{"ID:  cv40", "Name:  SITE-REMOTE", "Email:"}, want: "site-remote"},
		{comments: []string{"begin ABC"}, want: "abc"},
		{comments: []string{"Client nas"}, want: "nas"},
		{comments: []string{"friendly_name=tv"}, want: "tv"},
		{comments: []string{"key1:"}, want: "key1"},
		{comments: []string{"peer 7"}, want: "peer-7"},
		{comments: []string{"Home server. Use keep alive behind NAT."}, endpoint: "hub.example.net:1", want: "hub"},
		{comments: []string{"Филиал 1.1"}, want: "peer-10-0-0-9"},
		{name: "wgserver1", comments: []string{"other"}, want: "wgserver1"},
		{description: "the cellar", want: "the-cellar"},
		{want: "peer-10-0-0-9"},
		{comments: []string{"host"}, want: "host-2"},
	} {
		other := device(t, "other")
		host := device(t, "host", "10.0.0.1/24")
		host.ListenPort = 51820
		p := peer(other, 3, "10.0.0.9/32")
		p.Name, p.Description, p.Comment, p.Endpoint = test.name, test.description, test.comments, test.endpoint
		host.Peers = []foreign.Peer{p}
		d, err := draft.Make([]*foreign.Device{host})
		if err != nil {
			t.Error(test.comments, err)
		} else if !strings.Contains(string(d.Text), "[hosts."+test.want+"]\n") {
			t.Errorf("%q: no %s in\n%s", test.comments, test.want, d.Text)
		}
	}
}

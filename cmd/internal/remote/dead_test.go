package remote

import (
	"io"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

var (
	ownKey = keyring.PublicKey{1}
	farKey = keyring.PublicKey{2}
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

// pair are both ends of a dead tunnel, where change has been at work.
func pair(change func(near *HostStatus, peer *rotate.Peer, far *HostStatus,
	back *rotate.Peer)) (*HostStatus, *HostStatus) {
	v := &tunnel.View{Host: "a", Peers: []tunnel.Peer{{Name: "hub", PublicKey: farKey, Endpoint: "vpn.example.net:51820"}}}
	near := &HostStatus{Host: "a", tunnel: &tunnel.Tunnel{}, Live: ownKey, view: v, answer: rotate.Answer{Clock: noon}}
	far := &HostStatus{Host: "hub", Live: farKey, answer: rotate.Answer{Clock: noon}}
	peer, back := rotate.Peer{Sent: 740, Endpoint: "192.0.2.1:51820"}, rotate.Peer{}
	far.answer.Live.ListenPort = 51820
	change(near, &peer, far, &back)
	near.answer.Live.PublicKey, near.answer.Live.Peers = near.Live, map[keyring.PublicKey]rotate.Peer{farKey: peer}
	far.answer.Live.PublicKey = far.Live
	if far.answer.Live.Peers == nil {
		far.answer.Live.Peers = map[keyring.PublicKey]rotate.Peer{ownKey: back}
	}
	return near, far
}

// TestWhyDead: the causes are told apart by what both ends say.
func TestWhyDead(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(near *HostStatus, peer *rotate.Peer, far *HostStatus, back *rotate.Peer)
		want   string
	}{
		{"nothing arrives", func(*HostStatus, *rotate.Peer, *HostStatus, *rotate.Peer) {},
			"nothing of it arrives at hub: its port 51820/udp is closed, by a firewall there or on the way, or vpn.example.net:51820 leads to another host"},
		{"nothing leaves", func(near *HostStatus, peer *rotate.Peer, _ *HostStatus, _ *rotate.Peer) {
			peer.Sent, near.view.Peers[0].Keepalive = 0, 25
		}, "something on a refuses what WireGuard sends there"},
		{"no answer", func(_ *HostStatus, _ *rotate.Peer, far *HostStatus, _ *rotate.Peer) { far.Err = io.EOF },
			"hub cannot be asked why"},
		{"down", func(_ *HostStatus, _ *rotate.Peer, far *HostStatus, _ *rotate.Peer) { far.Live = keyring.PublicKey{} },
			"the tunnel is not up on hub"},
		{"another key", func(_ *HostStatus, _ *rotate.Peer, far *HostStatus, _ *rotate.Peer) {
			far.Live = keyring.PublicKey{9}
		}, "hub uses another key than a has for it, " +
			keyring.PublicKey{9}.String()},
		{"unknown there", func(_ *HostStatus, _ *rotate.Peer, far *HostStatus, _ *rotate.Peer) {
			far.answer.Live.Peers = map[keyring.PublicKey]rotate.Peer{}
		}, "hub does not know the key that a uses"},
		{"another port", func(_ *HostStatus, peer *rotate.Peer, _ *HostStatus, _ *rotate.Peer) {
			peer.Endpoint = "192.0.2.1:4000"
		}, "hub listens on port 51820"},
		{"heard there", func(_ *HostStatus, _ *rotate.Peer, far *HostStatus, back *rotate.Peer) { far.hear(ownKey) },
			"hub hears a, and its answers are lost on the way back or not accepted: the preshared keys differ, or a firewall of a drops UDP from 192.0.2.1"},
		{"a clock that began again", func(near *HostStatus, _ *rotate.Peer, _ *HostStatus, back *rotate.Peer) {
			near.answer.Clock, back.Handshake, back.Received = time.Unix(86400, 0), noon.Add(-time.Hour), 4000
		}, "the clock of a says 1970-01-02 00:00:00, which is before its last handshake with hub, so hub takes every new one for a replay"},
		{"a clock that was set back", func(near *HostStatus, peer *rotate.Peer, _ *HostStatus, back *rotate.Peer) {
			near.answer.Clock, peer.Handshake, back.Handshake = noon.Add(-3*time.Hour), noon.Add(-time.Hour),
				noon.Add(-time.Hour)
		}, "takes every new one for a replay"},
		{"clocks that always differed", func(near *HostStatus, peer *rotate.Peer, far *HostStatus, back *rotate.Peer) {
			near.answer.Clock, peer.Handshake, back.Handshake = noon.Add(-3*time.Hour), noon.Add(-4*time.Hour),
				noon.Add(-time.Hour)
		}, "nothing of it arrives at hub"},
	} {
		near, far := pair(test.change)
		dead := doubtful(near.view, near.answer)
		if len(dead) != 1 {
			t.Errorf("%s: there is no doubt", test.name)
			continue
		}
		if why, command := whyDead(near, dead[0], far); !strings.HasPrefix(why, test.want) &&
			!strings.HasSuffix(why, test.want) || command == "" {
			t.Errorf("%s: %s: %s\nwant %s", test.name, why, command, test.want)
		}
	}
}

// TestDoubts: a peer is dead only if a second look says so.
func TestDoubts(t *testing.T) {
	keepalive := func(p *tunnel.Peer) { p.Keepalive = 25 }
	for _, test := range []struct {
		name          string
		view          func(*tunnel.Peer)
		before, later rotate.Peer
		want          bool
	}{
		{name: "never used"},
		{name: "never used, and kept alive", view: keepalive, want: true},
		{name: "asked a moment ago", before: rotate.Peer{Sent: 148}, later: rotate.Peer{Sent: 148}},
		{name: "asked again", before: rotate.Peer{Sent: 148}, later: rotate.Peer{Sent: 296}, want: true},
		{name: "asked for long", before: rotate.Peer{Sent: 1480}, later: rotate.Peer{Sent: 1480}, want: true},
		{name: "answered meanwhile", before: rotate.Peer{Sent: 148}, later: rotate.Peer{Sent: 180, Received: 92,
			Handshake: noon}},
		{name: "nobody uses it", before: rotate.Peer{Sent: 9000, Received: 9000, Handshake: noon.Add(-time.Hour)},
			later: rotate.Peer{Sent: 9000, Received: 9000, Handshake: noon.Add(-time.Hour)}},
		{name: "somebody uses it", before: rotate.Peer{Sent: 9000, Received: 9000, Handshake: noon.Add(-time.Hour)},
			later: rotate.Peer{Sent: 9148, Received: 9000, Handshake: noon.Add(-time.Hour)}, want: true},
		{name: "kept alive", view: keepalive, before: rotate.Peer{Sent: 9000, Received: 9000,
			Handshake: noon.Add(-time.Hour)},
			later: rotate.Peer{Sent: 9000, Received: 9000, Handshake: noon.Add(-time.Hour)}, want: true},
		{name: "young enough", view: keepalive, before: rotate.Peer{Sent: 9000, Handshake: noon.Add(-170 * time.Second)},
			later: rotate.Peer{Sent: 9148, Handshake: noon.Add(-170 * time.Second)}},
		{name: "comes to us", view: func(p *tunnel.Peer) { p.Endpoint = "" }, before: rotate.Peer{Sent: 148},
			later: rotate.Peer{Sent: 1480}},
	} {
		v := &tunnel.View{Host: "a", Peers: []tunnel.Peer{{Name: "hub", PublicKey: farKey, Endpoint: "192.0.2.1:51820"}}}
		if test.view != nil {
			test.view(&v.Peers[0])
		}
		answer := func(p rotate.Peer) rotate.Answer {
			p.Endpoint = "192.0.2.1:51820"
			return rotate.Answer{Clock: noon,
				Live: rotate.Live{PublicKey: ownKey, Peers: map[keyring.PublicKey]rotate.Peer{farKey: p}}}
		}
		first := doubtful(v, answer(test.before))
		if got := len(unanswered(first, v, answer(test.later))) == 1; got != test.want {
			t.Errorf("%s: dead is %t", test.name, got)
		}
	}
}

// TestKeepDoubts: where looks follow each other, a peer is dead once it has not answered
// from a look long enough ago until now, and no longer than that.
func TestKeepDoubts(t *testing.T) {
	v := &tunnel.View{Host: "a", Peers: []tunnel.Peer{{Name: "hub", PublicKey: farKey, Endpoint: "192.0.2.1:51820"}}}
	var before map[string]doubt
	for _, look := range []struct {
		after time.Duration
		peer  rotate.Peer
		dead  bool
	}{
		{0, rotate.Peer{Sent: 148}, false},
		{2 * time.Second, rotate.Peer{Sent: 148}, false},
		{5 * time.Second, rotate.Peer{Sent: 296}, false},
		{7 * time.Second, rotate.Peer{Sent: 296}, true},
		{9 * time.Second, rotate.Peer{Sent: 444}, true},
		{11 * time.Second, rotate.Peer{Sent: 600, Received: 92, Handshake: noon}, false},
		{200 * time.Second, rotate.Peer{Sent: 748, Received: 92, Handshake: noon.Add(-time.Hour)}, false},
		{207 * time.Second, rotate.Peer{Sent: 900, Received: 92, Handshake: noon.Add(-time.Hour)}, true},
	} {
		look.peer.Endpoint = "192.0.2.1:51820"
		s := &HostStatus{Host: "a", tunnel: &tunnel.Tunnel{}, Live: ownKey, view: v, answer: rotate.Answer{Clock: noon,
			Live: rotate.Live{PublicKey: ownKey, Peers: map[keyring.PublicKey]rotate.Peer{farKey: look.peer}}}}
		s.keepDoubts(before, noon.Add(look.after))
		s.tellDead()
		before = s.doubts
		if dead := len(s.Findings) == 1 &&
			strings.Contains(s.Findings[0], "hub does not answer at 192.0.2.1:51820"); dead != look.dead {
			t.Errorf("after %v: %q", look.after, s.Findings)
		}
	}
}

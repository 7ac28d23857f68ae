package remote

import (
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// TestNoteOldKeys: a peer that nobody logs in to is named if its last handshake is older
// than the use of the host's key, which the key file tells better than the vault, as
// long as the two do not contradict each other; a managed peer never.
func TestNoteOldKeys(t *testing.T) {
	const minute = time.Minute
	for _, test := range []struct {
		name           string
		made, file     time.Duration // ago: the key, and its file; 0: not known
		seen           time.Duration // ago: the peer
		managed, named bool
		change         func(s *HostStatus)
	}{
		{name: "seen before", made: 10 * minute, seen: 20 * minute, named: true},
		{name: "seen since", made: 10 * minute, seen: 9 * minute},
		{name: "seen between making and use", made: 10 * minute, file: 8 * minute, seen: 9 * minute, named: true},
		{name: "seen since its use", made: 10 * minute, file: 8 * minute, seen: 7 * minute},
		{name: "the file was written again long after", made: 300 * minute, file: 8 * minute, seen: 9 * minute},
		{name: "the file is older than the key", made: 10 * minute, file: 30 * minute, seen: 20 * minute, named: true},
		{name: "only the host has the key", file: 8 * minute, seen: 9 * minute, named: true},
		{name: "nothing is known of the key", seen: 9 * minute},
		{name: "managed", made: 10 * minute, seen: 20 * minute, managed: true},
		{name: "a key that the repository has not", made: 10 * minute, seen: 20 * minute,
			change: func(s *HostStatus) { s.Key = keyring.PublicKey{9} }},
		{name: "a rotation is under way", made: 10 * minute, seen: 20 * minute,
			change: func(s *HostStatus) { s.Rotation = "armed" }},
		{name: "not up", made: 10 * minute, seen: 20 * minute,
			change: func(s *HostStatus) { s.Live, s.Key = keyring.PublicKey{}, keyring.PublicKey{} }},
	} {
		p := tunnel.Peer{Name: "phone", PublicKey: farKey, About: tunnel.About{Unmanaged: !test.managed,
			Description: "Anna's"}}
		s := &HostStatus{Host: "hub", Tunnel: "wg0", tunnel: &tunnel.Tunnel{}, Key: ownKey, Live: ownKey,
			File: ownKey, past: &repo.KeyHistory{},
			view: &tunnel.View{Peers: []tunnel.Peer{p}}}
		hostNoon := noon.Add(-17 * time.Hour) // the host's clock is another one
		s.answer = rotate.Answer{Clock: hostNoon, Live: rotate.Live{Peers: map[keyring.PublicKey]rotate.Peer{
			farKey: {Handshake: hostNoon.Add(-test.seen)}}}}
		if test.made > 0 {
			s.Created = noon.Add(-test.made)
		}
		if test.file > 0 {
			s.answer.File.Changed = hostNoon.Add(-test.file)
		}
		if test.change != nil {
			test.change(s)
		}
		s.noteOldKeys(t.Context(), noon)
		named := slices.ContainsFunc(s.Notes, func(n string) bool { return strings.Contains(n, ": phone (Anna's); give it") })
		if named != test.named || len(s.Notes) > 1 || s.Findings != nil {
			t.Errorf("%s: %q", test.name, s.Notes)
		}
	}
}

// A dead peer that nobody logs in to is not asked why.
func TestWhyDeadUnmanaged(t *testing.T) {
	near, _ := pair(func(*HostStatus, *rotate.Peer, *HostStatus, *rotate.Peer) {})
	near.view.Peers[0].Unmanaged = true
	near.dead = doubtful(near.view, near.answer)
	(&Survey{Jobs: 1}).judgeDead(t.Context(), []*HostStatus{near})
	if len(near.Findings) != 1 || !strings.Contains(near.Findings[0], ": nobody logs in to hub to ask it why; ") {
		t.Errorf("%q", near.Findings)
	}
}

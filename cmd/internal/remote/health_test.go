package remote

import (
	"errors"
	"slices"
	"testing"
	"time"

	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// TestWorse: an apply is blamed for a peer that is silent after it only where that peer
// answered before.
func TestWorse(t *testing.T) {
	const silence = "far does not answer"
	formerKey, otherKey := keyring.PublicKey{3}, keyring.PublicKey{4}
	after := &HostStatus{Live: ownKey, Findings: []string{"its key is due", silence}, silent: []silentPeer{{"far", 1}}}
	for _, test := range []struct {
		name   string
		heard  []keyring.PublicKey // who answered before
		silent []silentPeer
		err    error
		worse  bool
	}{
		{name: "it answered", heard: []keyring.PublicKey{farKey}, worse: true},
		{name: "it was silent", heard: []keyring.PublicKey{farKey}, silent: []silentPeer{{"far", 0}}},
		{name: "nobody answered, as of a tunnel that is down"},
		{name: "it is new, and another answered", heard: []keyring.PublicKey{otherKey}},
		{name: "it answered with a former key", heard: []keyring.PublicKey{formerKey}, worse: true},
		{name: "nothing was reported", err: errors.New("no answer"), worse: true},
	} {
		before := &HostStatus{Findings: []string{"its key is due"}, Err: test.err, silent: test.silent,
			answer: rotate.Answer{Clock: noon}}
		before.view = &tunnel.View{Peers: []tunnel.Peer{{Name: "far", PublicKey: farKey},
			{Name: "other", PublicKey: otherKey}}}
		before.answer.Live.Peers = map[keyring.PublicKey]rotate.Peer{}
		for _, key := range test.heard {
			before.answer.Live.Peers[key] = rotate.Peer{Handshake: noon.Add(-time.Minute)}
		}
		got := after.worse(before)
		if want := []string{silence}; test.worse && !slices.Equal(got, want) || !test.worse && len(got) > 0 {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

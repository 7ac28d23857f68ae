package remote

import (
	"testing"

	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
)

// TestLost: what looks like a loss is looked at again, also while a handshake is under way
// and the hosts have not counted the same messages.
func TestLost(t *testing.T) {
	for _, test := range []struct {
		name     string
		out, in  rotate.Peer // the sender's counters, and the receiver's
		suspects bool
	}{
		{"all arrives", rotate.Peer{Sent: 500_000, Received: 10_000}, rotate.Peer{Sent: 10_000, Received: 490_000}, false},
		{"large packets are lost", rotate.Peer{Sent: 500_000, Received: 10_000}, rotate.Peer{Sent: 10_000, Received: 2_000},
			true},
		{"and a handshake is under way", rotate.Peer{Sent: 142_234, Received: 236}, rotate.Peer{Sent: 416, Received: 384},
			true},
		{"little was sent", rotate.Peer{Sent: 40_000, Received: 236}, rotate.Peer{Sent: 236, Received: 384}, false},
		{"nothing was ever received", rotate.Peer{Sent: 500_000}, rotate.Peer{Sent: 300}, false},
		{"the sender began to count later", rotate.Peer{Sent: 300_000, Received: 92},
			rotate.Peer{Sent: 80_000, Received: 400}, false},
	} {
		from, to := &HostStatus{Live: ownKey}, &HostStatus{Live: farKey}
		from.answer.Live.Peers = map[keyring.PublicKey]rotate.Peer{farKey: test.out}
		to.answer.Live.Peers = map[keyring.PublicKey]rotate.Peer{ownKey: test.in}
		if _, got := lost(from, to); got != test.suspects {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

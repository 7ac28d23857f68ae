package rotate

import (
	"testing"
	"time"

	"wgkeys/keyring"
)

// peersOf makes the keys of so many peers.
func peersOf(n int) (keys []keyring.PublicKey) {
	for i := range n {
		keys = append(keys, keyring.PublicKey{1, byte(i >> 8), byte(i)})
	}
	return keys
}

// A hub begins with all peers soon, each once, and with no more of those that answer than
// are answered without a cookie. Those that never answer hold up the others for a moment.
func TestOpening(t *testing.T) {
	after := func(ms time.Duration) func(int) time.Duration {
		return func(int) time.Duration { return ms * time.Millisecond }
	}
	for name, tt := range map[string]struct {
		peers  int
		answer func(i int) time.Duration // after how long; 0: never
		most   int                       // under way at once, of those that answer
		within time.Duration             // all that answer have
	}{
		"two":              {2, after(10), 2, 20 * time.Millisecond},
		"near":             {200, after(10), mostAtOnce, 100 * time.Millisecond},
		"a thousand, near": {1000, after(10), mostAtOnce, 300 * time.Millisecond},
		"far":              {200, after(400), 128, 1500 * time.Millisecond},
		"every second one asleep": {200, func(i int) time.Duration { return time.Duration(i%2) * 10 * time.Millisecond },
			mostAtOnce, 1500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			o, begun, end := opening{}, map[keyring.PublicKey]time.Duration{}, time.Duration(0)
			for now := time.Duration(0); now < 5*time.Second; now += brisk {
				var waiting []keyring.PublicKey
				answering := 0
				for i, key := range peersOf(tt.peers) {
					at, ok := begun[key]
					after := tt.answer(i)
					if ok && after > 0 && now >= at+after {
						end = max(end, at+after)
						continue
					}
					waiting = append(waiting, key)
					if ok && after > 0 {
						answering++
					}
				}
				next := o.next(waiting, tt.peers-len(waiting), now)
				o.begin(next)
				for _, key := range next {
					if _, ok := begun[key]; ok {
						t.Fatalf("a peer is begun with twice, after %v", now)
					}
					begun[key] = now
				}
				if answering+len(next) > tt.most {
					t.Errorf("%d handshakes are under way after %v, want at most %d", answering+len(next), now, tt.most)
				}
			}
			if len(begun) != tt.peers || end > tt.within {
				t.Errorf("%d of %d peers were begun with, and the last has answered after %v, want %v", len(begun), tt.peers, end,
					tt.within)
			}
		})
	}
}

// The time for proof grows with the peers, up to a bound, and is that of the version before
// where any host has that one.
func TestProofTime(t *testing.T) {
	known, before := Answer{Proves: true}, Answer{}
	many := func(n int, a Answer) (all []Answer) {
		for range n {
			all = append(all, a)
		}
		return all
	}
	for name, tt := range map[string]struct {
		s    Survey
		want time.Duration
	}{
		"two":                    {Survey{host: known, peers: many(2, known)}, deadMan + 2*perPeer},
		"two hundred":            {Survey{host: known, peers: many(200, known)}, 18 * time.Second},
		"ten thousand":           {Survey{host: known, peers: many(10_000, known)}, mostProof},
		"the host is older":      {Survey{host: before, peers: many(200, known)}, deadMan},
		"one of them is older":   {Survey{host: known, peers: append(many(200, known), before)}, deadMan},
		"all of them are older":  {Survey{host: before, peers: many(200, before)}, deadMan},
		"the first one is older": {Survey{host: known, peers: append([]Answer{before}, many(200, known)...)}, deadMan},
	} {
		if got := tt.s.proof(); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	for asked, want := range map[time.Duration]time.Duration{0: deadMan, time.Second: deadMan,
		18 * time.Second: 18 * time.Second, time.Hour: mostProof} {
		r := &Record{Prove: asked}
		if got := r.proof(); got != want || r.linger() <= got {
			t.Errorf("asked for %v a host waits for %v, and a watcher stays for %v", asked, got, r.linger())
		}
	}
}

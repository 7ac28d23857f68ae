package rotate

import (
	"context"
	"testing"
	"time"

	"wgkeys/keyring"
)

// A run that was lost leaves watchers that wait for a switch. The next one for the
// same key ends them and goes on; it does not touch what belongs to another key, or
// to a host that is at it.
func TestSurveyEndsWhatWasLeft(t *testing.T) {
	basalt, shale, next := keyring.PublicKey{1}, keyring.PublicKey{9}, keyring.PublicKey{2}
	armed := &Record{Next: next, Phase: Armed}
	for _, c := range []struct {
		name    string
		host    *Record
		claimed bool
		next    keyring.PublicKey
		ending  bool
	}{
		{"left behind", nil, false, next, true},
		{"left behind, the host is through", &Record{Next: next, Phase: Kept, Switch: true}, false, next, true},
		{"another run's", nil, false, keyring.PublicKey{3}, false},
		{"armed by one that goes on", nil, true, next, false},
		{"under way", &Record{Next: next, Phase: Switched, Switch: true}, false, next, false},
	} {
		live := Live{basalt, map[keyring.PublicKey]Peer{shale: {}}}
		host := func(context.Context, Request) (Answer, error) {
			return Answer{Protocol: Protocol, Live: live, Record: c.host, Claimed: c.claimed}, nil
		}
		watch := armed
		peer := func(_ context.Context, q Request) (Answer, error) {
			if q.Do == DoEnd {
				watch = nil
			}
			return Answer{Protocol: Protocol, Live: Live{PublicKey: shale}, Record: watch}, nil
		}
		r := &Rotation{Tunnel: "wg0", Next: c.next, Host: Party{Host: "basalt", Ask: host}, Peers: []Party{{Host: "shale", Ask: peer}}}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		_, err := r.Survey(ctx)
		cancel()
		if (err == nil) != c.ending || (watch == nil) != c.ending {
			t.Errorf("%s: %v, and the watch ended: %v", c.name, err, watch == nil)
		}
	}
}

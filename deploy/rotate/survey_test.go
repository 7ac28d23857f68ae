package rotate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// A run that was lost leaves watchers that wait for a switch. The next one for the
// same key ends them and goes on; it does not touch what belongs to another key, or
// to a host that is at it.
func TestSurveyEndsWhatWasLeft(t *testing.T) { synctest.Test(t, surveyEndsWhatWasLeft) }

func surveyEndsWhatWasLeft(t *testing.T) {
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
		{"under way", &Record{Next: next, Phase: switched, Switch: true}, false, next, false},
	} {
		live := Live{PublicKey: basalt, Peers: map[keyring.PublicKey]Peer{shale: {}}}
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
		r := &Rotation{Tunnel: "wg0", Next: c.next, Host: Participant{Host: "basalt", Ask: host},
			Peers: []Participant{{Host: "shale", Ask: peer}}}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		_, err := r.Survey(ctx)
		cancel()
		if (err == nil) != c.ending || (watch == nil) != c.ending {
			t.Errorf("%s: %v, and the watch ended: %v", c.name, err, watch == nil)
		}
	}
}

// TestSurveyInterrupted: where the user ends the survey no peer is to blame, and what to run again is
// said, also where it waits for the end of another rotation.
func TestSurveyInterrupted(t *testing.T) { synctest.Test(t, surveyInterrupted) }

func surveyInterrupted(t *testing.T) {
	for _, waits := range []bool{false, true} {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(fault.Interrupted) })
		ask := func(ctx context.Context, _ Request) (Answer, error) {
			if waits {
				return Answer{Protocol: Protocol, Claimed: true}, nil
			}
			<-ctx.Done()
			return Answer{}, fault.WrapHost(context.Cause(ctx), "stopped the command on host", "shale", "")
		}
		r := &Rotation{Tunnel: "wg0", Host: Participant{Host: "basalt", Ask: ask}, Jobs: 2, Flags: []string{"--now"},
			Peers: []Participant{{Host: "shale", Ask: ask}}}
		_, err := r.Survey(ctx)
		if hints := fault.Hints(err); !errors.Is(err, fault.Interrupted) ||
			!slices.Equal(hints, []string{"wgkeys rotate basalt --now"}) {
			t.Errorf("waits %t: got %v, hints %q", waits, err, hints)
		}
	}
}

// What was left is ended at the second look, whoever has been left behind since the first.
func TestSurveyEndsByName(t *testing.T) { synctest.Test(t, surveyEndsByName) }

func surveyEndsByName(t *testing.T) {
	basalt, next, looks := keyring.PublicKey{1}, keyring.PublicKey{2}, 0
	lost := errors.New("no answer")
	host := func(context.Context, Request) (Answer, error) {
		looks++
		live := Live{PublicKey: basalt, Peers: map[keyring.PublicKey]Peer{{8}: {}, {9}: {}}}
		return Answer{Protocol: Protocol, Live: live}, nil
	}
	far := func(context.Context, Request) (Answer, error) {
		if looks > 1 {
			return Answer{}, lost
		}
		return Answer{Protocol: Protocol, Live: Live{PublicKey: keyring.PublicKey{8}}}, nil
	}
	watch, ended := &Record{Next: next, Phase: Armed}, 0
	peer := func(_ context.Context, q Request) (Answer, error) {
		if q.Do == DoEnd {
			watch, ended = nil, looks
		}
		return Answer{Protocol: Protocol, Live: Live{PublicKey: keyring.PublicKey{9}}, Record: watch}, nil
	}
	r := &Rotation{Tunnel: "wg0", Next: next, Host: Participant{Host: "basalt", Ask: host}, Jobs: 1, SkipUnreachable: true,
		Peers:    []Participant{{Host: "far", Ask: far}, {Host: "shale", Ask: peer}},
		NoAnswer: func(err error) bool { return errors.Is(err, lost) }}
	if _, err := r.Survey(t.Context()); err != nil || ended != 2 {
		t.Errorf("ended at look %d, %v", ended, err)
	}
}

// A peer that has been silent is woken, and what the host can do is known still.
func TestSessionsKeepWhatIsKnown(t *testing.T) {
	basalt, shale, now := keyring.PublicKey{1}, keyring.PublicKey{9}, time.Unix(1_000_000, 0)
	host := func(_ context.Context, q Request) (Answer, error) {
		p := Peer{Endpoint: "shale", Handshake: now.Add(-time.Hour)}
		if q.Peers != nil {
			p.Handshake = now
		}
		return Answer{Protocol: Protocol, Clock: now, CanHold: q.Hold,
			Live: Live{PublicKey: basalt, Peers: map[keyring.PublicKey]Peer{shale: p}}}, nil
	}
	peer := func(_ context.Context, q Request) (Answer, error) {
		return Answer{Protocol: Protocol, CanHold: q.Hold,
			Live: Live{PublicKey: shale, Peers: map[keyring.PublicKey]Peer{basalt: {}}}}, nil
	}
	for _, noHold := range []bool{false, true} {
		r := &Rotation{Tunnel: "wg0", NoHold: noHold, Host: Participant{Host: "basalt", Ask: host},
			Peers: []Participant{{Host: "shale", Ask: peer}}}
		s, err := r.Survey(t.Context())
		if err == nil {
			err = r.EnsureSessions(t.Context(), s)
		}
		if err != nil {
			t.Fatal(err)
		}
		if cannot := s.CannotHold(r); (len(cannot) > 0) != noHold {
			t.Errorf("no hold %v: packets cannot be held on %v", noHold, cannot)
		}
	}
}

// A claim tells which key the host uses: where another run has replaced it since the
// survey nothing is armed, and the host is given back.
func TestReplaceAfterAnother(t *testing.T) {
	basalt, shale, other, next := keyring.PublicKey{1}, keyring.PublicKey{9}, keyring.PublicKey{3}, keyring.PublicKey{2}
	var asked []string
	ask := func(_ context.Context, q Request) (Answer, error) {
		asked = append(asked, q.Do+" "+q.Within.String())
		return Answer{Protocol: Protocol, Live: Live{PublicKey: other}}, nil
	}
	r := &Rotation{Tunnel: "wg0", Host: Participant{Host: "basalt", Ask: ask},
		Peers: []Participant{{Host: "shale", Ask: ask}},
		Jobs:  8}
	s := &Survey{host: Answer{Live: Live{PublicKey: basalt}}, peers: []Answer{{Live: Live{PublicKey: shale}}}}
	if err := r.Replace(t.Context(), s, next); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Error(err)
	}
	if got := strings.Join(asked, ", "); got != "claim 20s, claim 0s" {
		t.Errorf("asked: %s", got)
	}
}

package rotate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// turnWith is a rotation whose host answers a switch, and the question what
// became of it, as it is told to. It returns what was asked of the peer.
func replaceWith(before *Record, switched, outcome Answer) (asked []string, err error) {
	old, next, peer := keyring.PublicKey{1}, keyring.PublicKey{2}, keyring.PublicKey{9}
	host := func(_ context.Context, q Request) (Answer, error) {
		switch q.Do {
		case DoSwitch:
			return switched, nil
		case DoClaim:
			return Answer{Protocol: Protocol, Live: Live{PublicKey: old}}, nil
		}
		return outcome, nil
	}
	watcher := func(_ context.Context, q Request) (Answer, error) {
		asked = append(asked, q.Do)
		return Answer{Protocol: Protocol, Live: Live{PublicKey: peer}}, nil
	}
	r := &Rotation{Tunnel: "wg0", Host: Participant{Host: "basalt", Ask: host},
		Peers: []Participant{{Host: "shale", Ask: watcher}}}
	s := &Survey{host: Answer{Live: Live{PublicKey: old}, Record: before}, peers: []Answer{{Live: Live{PublicKey: peer}}}}
	return asked, r.Replace(context.Background(), s, next)
}

func said(r *Record) Answer { return Answer{Protocol: Protocol, Record: r} }

// What a host says of a switch is told as it is, and no answer breaks the controller.
func TestReplaceTells(t *testing.T) {
	next := keyring.PublicKey{2}
	kept := &Record{Next: next, Phase: Kept, Since: time.Hour}
	earlier := &Record{Next: next, Phase: returned, Since: time.Minute, Why: "not every peer answered"}
	refusal := Refuse(fault.New("another key than the one in use is in", "/etc/wireguard/wg0.key", "", ""))
	for _, c := range []struct {
		name              string
		before            *Record
		switched, outcome Answer
		want              string // in the error; "": none
	}{
		{"kept", nil, said(kept), Answer{}, ""},
		{"no record, then one", nil, said(nil), said(kept), ""},
		{"no record at all", nil, said(nil), said(nil), "does not say what became of the switch"},
		{"refused", nil, refusal, said(nil), "another key than the one in use"},
		{"refused after an earlier attempt", earlier, refusal, said(earlier), "another key than the one in use"},
		{"not in its file", nil, said(&Record{Next: next, Phase: Kept, Why: "read-only file system"}), Answer{},
			"not in the key file"},
	} {
		asked, err := replaceWith(c.before, c.switched, c.outcome)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) ||
			strings.Contains(err.Error(), "lost sight")):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if got := strings.Join(asked, " "); got != DoWatch+" "+DoEnd {
			t.Errorf("%s: the peer was asked %q", c.name, got)
		}
	}
}

// A peer whose own key was replaced since it was looked at is not rotated with: the
// host would wait for proof from a key that is gone.
func TestReplaceWithAnotherPeer(t *testing.T) {
	old, next := keyring.PublicKey{1}, keyring.PublicKey{2}
	var asked []string
	answer := func(live keyring.PublicKey) func(context.Context, Request) (Answer, error) {
		return func(_ context.Context, q Request) (Answer, error) {
			asked = append(asked, q.Do)
			return Answer{Protocol: Protocol, Live: Live{PublicKey: live}}, nil
		}
	}
	r := &Rotation{Tunnel: "wg0", Host: Participant{Host: "basalt", Ask: answer(old)},
		Peers: []Participant{{Host: "shale", Ask: answer(keyring.PublicKey{8})}}}
	s := &Survey{host: Answer{Live: Live{PublicKey: old}}, peers: []Answer{{Live: Live{PublicKey: keyring.PublicKey{9}}}}}
	err := r.Replace(context.Background(), s, next)
	if err == nil || !strings.Contains(err.Error(), `meanwhile, on peer "shale"`) {
		t.Error(err)
	}
	// The claim goes before the watch does: a switch on its way finds nobody's.
	if got, want := strings.Join(asked, " "), "claim watch claim end"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// The host whose key was stolen may be in the hands of whoever stole it: it does not keep its peers from
// refusing the key, and neither does an interrupt. A peer that was not reached is
// told, and with an error that can be told from others.
func TestNowWithAHostThatHangs(t *testing.T) { synctest.Test(t, nowWithAHostThatHangs) }

func nowWithAHostThatHangs(t *testing.T) {
	ctx, interrupt := context.WithCancel(context.Background())
	hangs := func(ctx context.Context, _ Request) (Answer, error) {
		interrupt()
		<-ctx.Done()
		return Answer{}, ctx.Err()
	}
	refused := false
	good := func(ctx context.Context, q Request) (Answer, error) {
		refused = q.Do == DoReplace && ctx.Err() == nil
		return Answer{Protocol: Protocol}, nil
	}
	gone := func(context.Context, Request) (Answer, error) { return Answer{}, errors.New("no route to host") }
	r := &Rotation{Tunnel: "wg0", Host: Participant{Host: "basalt", Ask: hangs},
		Peers: []Participant{{Host: "shale", Ask: good}}}
	install := func(ctx context.Context) error { _, err := r.Host.Look(ctx, "wg0"); return err }
	err := r.ReplaceNow(ctx, keyring.PublicKey{1}, keyring.PublicKey{2}, install)
	if !refused || err == nil || errors.Is(err, ErrAccepted) || !strings.Contains(err.Error(), "not in use on host") {
		t.Errorf("refused %v, %v", refused, err)
	}
	r.Peers = append(r.Peers, Participant{Host: "flint", Ask: gone})
	if err := r.Revoke(ctx, keyring.PublicKey{1}); !errors.Is(err, ErrAccepted) || !strings.Contains(err.Error(),
		`still accepted by peer "flint": no route to host`) {
		t.Error(err)
	}
}

// A passphrase takes its time: the peers do not wait for it longer than they would for
// the host, which is armed when it is there.
func TestNowWithAPassphrase(t *testing.T) { synctest.Test(t, nowWithAPassphrase) }

func nowWithAPassphrase(t *testing.T) {
	next := keyring.PublicKey{2}
	start := time.Now()
	var refused, armed time.Duration
	host := func(_ context.Context, q Request) (Answer, error) {
		if q.Do == DoSwitch {
			armed = time.Since(start)
		}
		return said(&Record{Next: next, Phase: Kept}), nil
	}
	peer := func(_ context.Context, q Request) (Answer, error) {
		refused = time.Since(start)
		return Answer{Protocol: Protocol}, nil
	}
	r := &Rotation{Tunnel: "wg0", Host: Participant{Host: "basalt", Ask: host},
		Peers: []Participant{{Host: "shale", Ask: peer}}}
	err := r.ReplaceNow(context.Background(), keyring.PublicKey{1}, next, func(context.Context) error {
		time.Sleep(20 * time.Second)
		return nil
	})
	if err != nil || refused != armFor || armed != 20*time.Second {
		t.Errorf("refused after %v, armed after %v, %v", refused, armed, err)
	}
}

// A host whose key was stolen is not waited for without end where it is to make another
// one, or to say whether it takes part in a rotation.
func TestStolenHostIsNotWaitedFor(t *testing.T) { synctest.Test(t, stolenHostIsNotWaitedFor) }

func stolenHostIsNotWaitedFor(t *testing.T) {
	old := keyring.PublicKey{1}
	silent := func(ctx context.Context, _ Request) (Answer, error) {
		<-ctx.Done()
		return Answer{}, ctx.Err()
	}
	r := &Rotation{Tunnel: "wg0", Host: Participant{Host: "basalt", Ask: silent}}
	start := time.Now()
	if key, err := r.Host.Make(context.Background(), "wg0", Fresh); err == nil || time.Since(start) != armFor {
		t.Errorf("made %v after %v, %v", key, time.Since(start), err)
	}
	start = time.Now()
	if key := r.WaitIdle(context.Background(), old); key != old || time.Since(start) != armFor {
		t.Errorf("the key is %v, told after %v", key, time.Since(start))
	}
}

// Whether a handshake is another one does not depend on the clock of the host.
func TestRenewed(t *testing.T) {
	then := time.Unix(1000, 0)
	for at, want := range map[time.Time]bool{{}: false, then: false, then.UTC(): false, then.Add(1): true,
		then.Add(-time.Hour): true} {
		if got := renewed(at, then); got != want {
			t.Errorf("%v after %v: %v", at, then, got)
		}
	}
	if !renewed(then, time.Time{}) {
		t.Error("the first one is none")
	}
}

// lost is a tunnel that somebody has taken away.
type lost struct{ shale }

func (lost) Look() (Live, error) { return Live{}, errors.New("no such device") }

// Neither part stays for ever with a tunnel that is gone: while it stays no apply
// can bring the tunnel back.
func TestTunnelGone(t *testing.T) {
	for name, run := range map[string]func(Tunnel, *Record, func(*Record) error, func() time.Duration) error{
		"switch": func(t Tunnel, r *Record, save func(*Record) error, clock func() time.Duration) error {
			return (&Switch{Tunnel: t, Record: r, Save: save, Clock: clock}).Run(context.Background())
		},
		"watcher": func(t Tunnel, r *Record, save func(*Record) error, clock func() time.Duration) error {
			return (&Watcher{Tunnel: t, Record: r, Save: save, Clock: clock, Ended: func(*Record) bool {
				return false
			}}).Run(context.Background())
		},
	} {
		now, saved := time.Duration(0), Record{}
		save := func(r *Record) error { saved = *r; return nil }
		clock := func() time.Duration { now += time.Second; return now }
		err := run(lost{shale{newModel()}}, &Record{Phase: switched}, save, clock)
		if err == nil || saved.Phase != returned || saved.Why != "no such device" || now < (&Record{}).hopeless() {
			t.Errorf("%s: %v after %v, saved %s %q", name, err, now, saved.Phase, saved.Why)
		}
	}
}

// A host that answers rubbish where it is to make a key does not bring the key
// that is none into the keyring, from where it would go to every peer.
func TestMakeRefusesNone(t *testing.T) {
	for want, a := range map[string]Answer{"it names none": {Protocol: Protocol},
		"another version of wgkeys": {Made: keyring.PublicKey{1}}} {
		p := Participant{Host: "shale", Ask: func(context.Context, Request) (Answer, error) { return a, nil }}
		if key, err := p.Make(context.Background(), "wg0", Next); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %s, %v", want, key, err)
		}
	}
}

// A host whose file has another preshared key than it was told, as one that somebody else
// has just replaced, hints at a push: it knows of itself only what it is called by the caller.
func TestPSKNamesTheHost(t *testing.T) {
	keys := [2]keyring.PublicKey{{1}, {2}}
	var named [2]string
	end := func(i int, host string) Participant {
		live := Live{PublicKey: keys[i], Peers: map[keyring.PublicKey]Peer{keys[1-i]: {}}}
		return Participant{Host: host, Ask: func(_ context.Context, q Request) (Answer, error) {
			if q.Do == DoPSK && q.PSK != "" {
				named[i] = q.Host
			}
			return Answer{Protocol: Protocol, Live: live, PSK: q.PSK}, nil
		}}
	}
	p := &Pair{Tunnel: "wg0", Ends: [2]Participant{end(0, "basalt"), end(1, "shale")}}
	if err := p.Replace(t.Context(), "abc"); err != nil || named != [2]string{"basalt", "shale"} {
		t.Errorf("%v; the hosts are told that they are %q", err, named)
	}
	named = [2]string{}
	if _, err := p.Ends[1].PSK(t.Context(), "wg0", keys[0], "/etc/wireguard/wg0.basalt.psk", "abc"); err != nil ||
		named[1] != "shale" {
		t.Errorf("%v; the host is told that it is %q", err, named[1])
	}
}

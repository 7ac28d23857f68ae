package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// threeTunnels are to be looked at: the second has a view that is too long to go along.
var threeTunnels = []Look{
	{"wg0", "/etc/wireguard/wg0.key", []byte(`{}`)},
	{"wg1", "/etc/wireguard/wg1.key", slices.Repeat([]byte(" "), maxView)},
	{"wg2", "/etc/wireguard/wg2.key", []byte(`{}`)},
}

// lookedAt is what a host says of one of them: of wg2 that it was refused.
func lookedAt(q Request) Answer {
	a := Answer{Protocol: q.Protocol, File: FileKey{PublicKey: keyring.PublicKey{q.Tunnel[2]}}}
	switch {
	case q.Tunnel == "wg2":
		a = Refuse(errors.New("refused"))
	case q.View != nil:
		a.Planned = &Planned{Steps: 1}
	}
	return a
}

// TestLookAndPlan: several tunnels of a host are asked for at once, and what an older host
// leaves out of its answer is asked for apart.
func TestLookAndPlan(t *testing.T) {
	for name, test := range map[string]struct {
		ask     func(q Request) Answer
		asked   int
		planned bool
	}{
		"of this version": {func(q Request) Answer {
			a := lookedAt(q)
			for _, also := range q.Also {
				also.Protocol = q.Protocol
				a.Also = append(a.Also, lookedAt(also))
			}
			return a
		}, 1, true},
		"older": {func(q Request) Answer {
			q.View = nil
			return lookedAt(q)
		}, 3, false},
	} {
		asked := 0
		p := Participant{Host: "shale", Ask: func(_ context.Context, q Request) (Answer, error) {
			asked++
			return test.ask(q), nil
		}}
		answers, errs := p.LookAndPlan(t.Context(), threeTunnels)
		if asked != test.asked || errs[0] != nil || errs[1] != nil || errs[2] == nil {
			t.Errorf("%s: asked %d times: %v", name, asked, errs)
		}
		for i, a := range answers[:2] {
			if want := (keyring.PublicKey{threeTunnels[i].Tunnel[2]}); a.File.PublicKey != want {
				t.Errorf("%s: the key of %s is %v", name, threeTunnels[i].Tunnel, a.File)
			}
		}
		if planned := answers[0].Planned != nil; planned != test.planned || answers[1].Planned != nil {
			t.Errorf("%s: plans are %v and %v", name, answers[0].Planned, answers[1].Planned)
		}
	}
}

// TestLookAtNobody: a host that gives no answer is asked once.
func TestLookAtNobody(t *testing.T) {
	asked, lost := 0, errors.New("no route to host")
	p := Participant{Host: "shale", Ask: func(context.Context, Request) (Answer, error) {
		asked++
		return Answer{}, lost
	}}
	_, errs := p.LookAndPlan(t.Context(), threeTunnels)
	for i, err := range errs {
		if !errors.Is(err, lost) {
			t.Errorf("%s: %v", threeTunnels[i].Tunnel, err)
		}
	}
	if asked != 1 || len(errs) != len(threeTunnels) {
		t.Errorf("asked %d times, %d errors", asked, len(errs))
	}
}

// TestSkippingAll: one command leaves all peers behind that stand in the way, whatever it is
// that each lacks.
func TestSkippingAll(t *testing.T) {
	lost, bare := errors.New("no route to host"), errors.New("it is not installed there")
	old := fmt.Errorf("too old: %w", errVersion)
	for _, test := range []struct {
		errs []error // of flint, shale, slate, chert
		skip bool
		want string
	}{
		{[]error{lost, nil, nil, nil}, false, "leave the peer behind: wgkeys rotate basalt --skip flint"},
		{[]error{nil, bare, nil, nil}, false, "leave the peer behind: wgkeys rotate basalt --skip shale"},
		{[]error{nil, bare, bare, nil}, false, "leave those peers behind: wgkeys rotate basalt --skip shale --skip slate"},
		{[]error{lost, nil, lost, nil}, false,
			"leave all peers behind that do not answer: wgkeys rotate basalt --skip-unreachable"},
		{[]error{bare, nil, lost, nil}, false, "leave those peers behind: wgkeys rotate basalt --skip slate --skip flint"},
		{[]error{lost, bare, lost, old}, false,
			"leave those peers behind: wgkeys rotate basalt --skip-unreachable --skip shale"},
		{[]error{lost, bare, nil, nil}, true, "leave the peer behind: wgkeys rotate basalt --skip-unreachable --skip shale"},
	} {
		r := &Rotation{Tunnel: "wg0", Jobs: 1, SkipUnreachable: test.skip,
			NoAnswer: func(err error) bool { return errors.Is(err, lost) },
			Host: Participant{Host: "basalt", Ask: func(_ context.Context, q Request) (Answer, error) {
				return Answer{Protocol: q.Protocol}, nil
			}}}
		for i, name := range []string{"flint", "shale", "slate", "chert"} {
			r.Peers = append(r.Peers, Participant{Host: name, Ask: func(_ context.Context, q Request) (Answer, error) {
				return Answer{Protocol: q.Protocol}, test.errs[i]
			}})
		}
		_, err := r.look(t.Context())
		got := fault.Hints(err)
		got = slices.DeleteFunc(got, func(hint string) bool { return !strings.Contains(hint, "behind") })
		if !slices.Equal(got, []string{"mend that, or " + test.want}) {
			t.Errorf("%v: the hints are %q, want %q", test.errs, fault.Hints(err), test.want)
		}
	}
}

// TestNobodyLeft: --skip-unreachable leaves some peers behind, and never all. What to run
// instead has the flags that were given.
func TestNobodyLeft(t *testing.T) {
	lost := errors.New("no route to host")
	peer := func(name string, err error) Participant {
		return Participant{Host: name, Ask: func(_ context.Context, q Request) (Answer, error) {
			return Answer{Protocol: q.Protocol}, err
		}}
	}
	for _, test := range []struct {
		slate error
		want  string
	}{
		{nil, ""},
		{lost, `no peer is left for the next key of host "basalt": none answers, and --skip-unreachable would leave all of them behind`},
	} {
		r := &Rotation{Tunnel: "wg0", Host: peer("basalt", nil),
			Peers: []Participant{peer("shale", lost), peer("slate", test.slate)},
			Jobs:  2, SkipUnreachable: true, Flags: []string{"-t", "wg0", "--skip", "flint"},
			NoAnswer: func(err error) bool { return errors.Is(err, lost) }}
		_, err := r.look(t.Context())
		if got := fmt.Sprint(err); got != test.want && (err != nil || test.want != "") {
			t.Errorf("got %q, want %q", got, test.want)
		}
		if want := "wgkeys rotate basalt -t wg0 --skip flint --skip shale"; err != nil &&
			!strings.Contains(strings.Join(fault.Hints(err), "\n"), want) {
			t.Errorf("the hints are %q", fault.Hints(err))
		}
		if err == nil && !slices.Equal(r.LeftBehind, []string{"shale"}) {
			t.Errorf("left behind are %q", r.LeftBehind)
		}
	}
}

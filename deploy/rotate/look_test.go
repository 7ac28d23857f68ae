package rotate

import (
	"context"
	"errors"
	"slices"
	"testing"

	"wgkeys/keyring"
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

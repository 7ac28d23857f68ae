package remote

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/ssh"
	"wgkeys/keyring/fault"
)

// TestLines: what is asked over a connection that waited and is lost, or says nothing, is
// asked again over another; one that goes on waiting is kept, and no other.
func TestLines(t *testing.T) {
	const slow = "read q; for i in 1 2 3 4 5 6; do sleep 0.5; echo; done; "
	const stays, ends = `echo '{"protocol":3,"stays":true}'; `, `echo '{"protocol":3}'; `
	for name, tt := range map[string]struct {
		command string
		stay    bool // asked for
		done    bool
		kept    bool
	}{
		"it stays":                       {"read q; " + stays + "read q", true, true, true},
		"it is not asked to":             {"read q; " + stays + "read q", false, true, false},
		"it is older":                    {"read q; " + ends, true, true, false},
		"it is gone":                     {"true", true, false, false},
		"it goes before it has answered": {"read q; echo '{'", true, false, false},
		"it says nothing":                {"read q; exec sleep 60", true, false, false},
		"it is at it for long":           {slow + stays + "read q", true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &Hosts{Limit: 2 * time.Second}
			if !h.lines.reserve() {
				t.Fatal("no line is free")
			}
			s := ssh.Start(t.Context(), ssh.Local{}, "echo "+begins+"; "+tt.command)
			h.lines.put("shale wg0", newLine(s))
			a, err := h.lines.ask(t.Context(), "shale wg0", []byte("{}\n"), tt.stay, h.Limit, nil)
			if done := err == nil; done != tt.done || !done && !errors.Is(err, errLost) || done && a.Protocol != 3 {
				t.Errorf("answer %+v, %v", a, err)
			}
			if kept := h.lines.idle["shale wg0"] != nil; kept != tt.kept || !kept && h.lines.n != 0 {
				t.Errorf("kept %v, and %d lines are counted", kept, h.lines.n)
			}
			h.HangUp()
			if h.lines.n != 0 || len(h.lines.idle) != 0 {
				t.Errorf("%d lines are left after the end", h.lines.n)
			}
		})
	}
}

// TestNewLine: a host on a new connection is given up, whatever it does instead of an answer.
func TestNewLine(t *testing.T) {
	for name, tt := range map[string]struct{ command, why string }{
		"it says nothing more":      {"echo " + begins + "; exec sleep 60", "it has said nothing for 1s"},
		"it does not end its words": {"while printf x; do sleep 0.3; done", "and does not begin in time"},
		"it does not end its answer": {"echo " + begins + "; printf {; while echo; do sleep 0.3; done",
			"it has not come to an end in 10s"},
		"it answers, and reads nothing": {"echo " + begins + `; echo '{"protocol":3,"stays":true}'; exec sleep 60`,
			"it has said nothing for 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l lines
			dial := func() *ssh.Session { return ssh.Start(t.Context(), ssh.Local{}, tt.command) }
			_, err := l.ask(t.Context(), "shale wg0", bytes.Repeat([]byte("{}\n"), 1<<20), true, time.Second, dial)
			if !errors.Is(err, ssh.ErrSilent) || !strings.Contains(fault.OneLine(err), tt.why) {
				t.Errorf("got %v", err)
			}
			if l.n != 0 || len(l.idle) != 0 {
				t.Errorf("%d lines are left", l.n)
			}
		})
	}
}

// An interrupted command does not ask again.
func TestLineInterrupted(t *testing.T) {
	h := &Hosts{Limit: time.Minute}
	h.lines.reserve()
	s := ssh.Start(t.Context(), ssh.Local{}, "read q; exec sleep 60")
	h.lines.put("shale wg0", newLine(s))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := h.lines.ask(ctx, "shale wg0", []byte("{}\n"), true, h.Limit, nil)
	if err == nil || errors.Is(err, errLost) || h.lines.n != 0 {
		t.Errorf("%v, %d lines", err, h.lines.n)
	}
}

// No more connections are kept than so many.
func TestMostLines(t *testing.T) {
	var l lines
	for range mostLines {
		if !l.reserve() {
			t.Fatalf("%d lines are too many", l.n)
		}
	}
	if l.reserve() {
		t.Errorf("%d lines are kept", l.n)
	}
}

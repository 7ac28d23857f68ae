package ui

import (
	"os"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/ssh/ptytest"
)

// TestYield: while another program has the terminal nothing is drawn and no message printed, and
// both come after.
func TestYield(t *testing.T) {
	t.Setenv("TERM", "xterm")
	master, slave := ptytest.Open(t)
	u := &UI{Stderr: slave}
	l := u.Live(2)
	defer l.End()
	l.At("alpha", "...")
	shown(t, master, "alpha", time.Minute)

	back := u.Yield()
	shown(t, master, "\x1b[J", time.Minute) // its lines are gone
	done := make(chan struct{})
	go func() {
		l.At("beta", "...")
		u.Say("hello")
		close(done)
	}()
	if text := shown(t, master, "", 4*redrawEvery); text != "" {
		t.Errorf("shown to somebody who is asked: %q", text)
	}
	back()
	<-done
	shown(t, master, "beta", time.Minute)
}

// TestYieldTakesOutput: what a host says is taken while its ssh has the terminal, which ends
// only after that.
func TestYieldTakesOutput(t *testing.T) {
	t.Setenv("TERM", "xterm")
	master, slave := ptytest.Open(t)
	u := &UI{Stderr: slave}
	l := u.Live(1)
	defer l.End()
	back := u.Yield()
	taken := make(chan struct{})
	go func() {
		l.At("alpha", "nothing to do")
		close(taken)
	}()
	select {
	case <-taken:
	case <-time.After(10 * time.Second):
		t.Error("it waits for the end of what has the terminal")
	}
	if text := shown(t, master, "", 4*redrawEvery); text != "" {
		t.Errorf("shown to somebody who is asked: %q", text)
	}
	back()
	shown(t, master, "nothing to do", time.Minute)
}

// shown reads what is drawn until it has the words, or for so long.
func shown(t *testing.T, master *os.File, words string, patience time.Duration) (text string) {
	t.Helper()
	master.SetReadDeadline(time.Now().Add(patience))
	for words == "" || !strings.Contains(text, words) {
		b := make([]byte, 4096)
		n, err := master.Read(b)
		text += string(b[:n])
		switch {
		case os.IsTimeout(err) && words == "":
			return text
		case err != nil:
			t.Fatalf("shown: %q, %v", text, err)
		}
	}
	return text
}

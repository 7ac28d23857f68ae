//go:build unix

package child

import (
	"os"
	"os/exec"
	signals "os/signal"
	"syscall"
	"testing"
	"time"
)

// ended is how a shell ended that did what the script says.
func ended(script string) *os.ProcessState {
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Run()
	return cmd.ProcessState
}

// The program is gone first, and the run's own signal comes later.
func TestInterruptedAfterwards(t *testing.T) {
	ends := map[string]os.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	for signal, number := range ends {
		if signals.Ignored(number) { // as after nohup(1), and what is started from here ignores it too
			continue
		}
		end := make(chan struct{})
		p := ended("kill -" + signal + " $$")
		time.AfterFunc(50*time.Millisecond, func() { close(end) })
		if !Interrupted(p, end) {
			t.Errorf("SIG%s ended the program, then the run: not taken for an interruption", signal)
		}
	}
}

func TestNotInterrupted(t *testing.T) {
	running := make(chan struct{})
	for _, script := range []string{"exit 0", "exit 1", "kill -KILL $$", "kill -SEGV $$", "kill -INT $$"} {
		if Interrupted(ended(script), running) {
			t.Errorf("%q: taken for an interruption, and the run goes on", script)
		}
	}
	if Interrupted(nil, running) || Interrupted(ended("kill -INT $$"), nil) {
		t.Error("nothing ended, or nothing can: taken for an interruption")
	}
}

// A failure of its own is reported at once, and one that the run's end caused as well.
func TestNobodyWaitsForAFailure(t *testing.T) {
	running := make(chan struct{})
	for _, script := range []string{"exit 1", "kill -KILL $$"} {
		p, begun := ended(script), time.Now()
		if Interrupted(p, running); time.Since(begun) >= ours {
			t.Errorf("%q: %v passed", script, time.Since(begun))
		}
	}
	over := make(chan struct{})
	close(over)
	if !Interrupted(ended("exit 1"), over) {
		t.Error("the run is over: not taken for an interruption")
	}
}

// signaled knows them by the system's own status.
func TestSignaled(t *testing.T) {
	p := ended("kill -TERM $$")
	if status := p.Sys().(syscall.WaitStatus); !status.Signaled() || !signaled(p) {
		t.Errorf("%v: not known as ended by a signal", p)
	}
}

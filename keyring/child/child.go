// Package child tells how a program that was started for us has ended.
package child

import (
	"os"
	"syscall"
	"time"
)

// A terminal's Ctrl-C and timeout(1) signal a whole group of processes: a program that was
// started may be gone before we have heard the signal ourselves. On a busy machine this
// took some hundredths of a second.
const ours = time.Second

// Interrupted reports whether a program that has ended was ended by the signal that ends
// the run, which ended tells of. Where a signal ended it, the run's own is waited for
// some time: so nobody is told that a program failed which he has ended himself.
func Interrupted(p *os.ProcessState, ended <-chan struct{}) bool {
	if signaled(p) {
		Await(ended)
	}
	select {
	case <-ended:
		return true
	default:
		return false
	}
}

// Await gives the run's own signal its time, for a program that was started is gone and
// gave no reason.
func Await(ended <-chan struct{}) {
	if ended == nil {
		return
	}
	late := time.NewTimer(ours)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
	}
}

// signaled reports whether one of the signals that end a run ended the program.
func signaled(p *os.ProcessState) bool {
	if p == nil {
		return false
	}
	status, ok := p.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return false
	}
	switch status.Signal() {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP:
		return true
	}
	return false
}

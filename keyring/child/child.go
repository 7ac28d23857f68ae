// Package child reports how a child process has ended.
package child

import (
	"os"
	"syscall"
	"time"
)

// A terminal's Ctrl-C and timeout(1) signal a whole process group, so a child may be gone
// before this process has received the signal itself. On a busy machine that takes some
// hundredths of a second.
const ours = time.Second

// Interrupted reports whether a child that has ended was ended by the same signal that ends
// the run, which closes ended. If a signal ended the child, it waits a moment for the run's
// own, so that a user who pressed Ctrl-C is not shown a failure of the child.
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

// Await waits a moment for the run's own signal, after a child has gone without a reason.
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

// signaled reports whether the program was ended by one of the signals that end a run.
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

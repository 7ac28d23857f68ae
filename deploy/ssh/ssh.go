// Package ssh runs one command on one host through the system's ssh, so that
// the user's own configuration, agent, jump hosts, hardware keys and
// known_hosts apply. It never loosens host-key checking and never lets a
// destination be read as an option. Where several hosts are reached at once, ssh
// asks the user about one at a time; see [Terminal].
package ssh

import (
	"context"
	"fmt"
	"io"
)

// A Runner runs one shell command on one host.
type Runner interface {
	// Run runs command, a line for the host's login shell, with this standard input and
	// output; both may be nil. Secrets are sent on stdin only. The error names the host and
	// contains the end of what the command wrote to standard error.
	//
	// Run returns when the command has ended, even if stdin has not: a goroutine may then
	// still be blocked in one Read of it.
	Run(ctx context.Context, command string, stdin io.Reader, stdout io.Writer) error
}

// An ExitError is the cause of a Runner's error if the command itself ran and failed.
type ExitError struct {
	Code   int    // the exit status; -1 if a signal ended the command
	Stderr string // the end of its standard error, as one printable line
	Local  bool   // it ran on this machine, and not over ssh
}

func (e *ExitError) Error() string {
	status := fmt.Sprintf("exit status %d", e.Code)
	if e.Code < 0 {
		status = "ended by a signal"
	}
	if e.Stderr == "" {
		return status
	}
	return e.Stderr + " (" + status + ")"
}

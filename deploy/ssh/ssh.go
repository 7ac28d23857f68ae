// Package ssh runs one command on one host through the system's ssh, so that
// the user's own configuration, agent, jump hosts, hardware keys and
// known_hosts apply. It never loosens host-key checking and never lets a
// destination be read as an option.
package ssh

import (
	"context"
	"io"
)

// A Runner runs one shell command on one host.
type Runner interface {
	// Run starts command, a line for the host's login shell, and connects its
	// standard input and output. Secrets travel on stdin alone. The error
	// names the host and holds what the command said on standard error.
	Run(ctx context.Context, command string, stdin io.Reader, stdout io.Writer) error
}

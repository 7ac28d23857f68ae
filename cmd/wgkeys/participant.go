package main

import (
	"os"
	"os/signal"
	"syscall"

	"wgkeys/cmd/internal/remote"

	"github.com/urfave/cli/v2"
)

// participantCommand is the verb that a controller runs on each host of a rotation. It is
// called "turn" for controllers and hosts of other versions.
func participantCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
			Name:   "turn",
			Usage:  "take a host's part in a rotation",
			Hidden: true,
		}, func(e *env) error {
			// Even if the controller is gone the participant has to finish (SIGPIPE).
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			p := newPulse(e.ui.Stdout, pulseEvery)
			defer p.end()
			return remote.Serve(e.ctx, version(), os.Stdin, p)
		}
}

package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
)

// The way to a host, and how long it is waited for. It is the same for every verb.

const (
	defaultTimeout = 30 * time.Second
	defaultJobs    = 8 // sshd lets 10 in at once that are not authenticated (MaxStartups)
)

var timeoutFlag = &cli.DurationFlag{Name: "timeout", Usage: "wait no longer than `DURATION` for a host that says nothing", Value: defaultTimeout}

// timeoutOf is how long a host may say nothing.
func timeoutOf(e *env) time.Duration {
	if d := e.cli.Duration("timeout"); d > 0 {
		return d
	}
	return defaultTimeout
}

func checkTimeout(c *cli.Context) error {
	if c.IsSet("timeout") && c.Duration("timeout") < time.Second {
		verb := "wgkeys " + c.Command.Name
		return ui.Usage("too short a --timeout for", verb, "no host answers in less than a second", verb+" --timeout 30s")
	}
	return nil
}

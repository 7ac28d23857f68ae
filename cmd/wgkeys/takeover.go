package main

import (
	"github.com/urfave/cli/v2"

	"wgkeys/deploy/tunnel"
)

var (
	takeOverFlag = &cli.BoolFlag{Name: "take-over", Usage: "bring the running tunnel under wgkeys"}
	undoFlag     = &cli.BoolFlag{Name: "undo", Usage: "give a tunnel back to the program that had it"}
	// hiddenViewFlag passes the view of a take-over to another host's wgkeys.
	hiddenViewFlag = &cli.StringFlag{Name: "view", Hidden: true}
)

// doTakeOver takes over the tunnel of a view: that in a file or, if it is "", the one of the
// repository.
func doTakeOver(e *env, file string, dry bool) error {
	if file != "" {
		text, err := readText(file)
		if err != nil {
			return err
		}
		v, err := tunnel.ParseView(text)
		if err != nil {
			return err
		}
		return takeOverHere(e, v, dry)
	}
	here := func(v *tunnel.View) error { return takeOverHere(e, v, dry) }
	return onHostOfView(e, here, func(t *tunnel.Tunnel, v *tunnel.View) error {
		return e.hosts.TakeOver(e.ctx, t, v, dry)
	})
}

// doGiveBack gives a tunnel back: the named one or, if that is "", the only one.
func doGiveBack(e *env, tunnel string, dry bool) error {
	here := func(e *env) error { return giveBackTaken(e, tunnel, dry) }
	return onHost(e, here, func(e *env, host string) error {
		t, own, err := tunnelOf(e, host)
		if err != nil {
			return err
		}
		return e.hosts.GiveBack(e.ctx, t, host, own, dry)
	})
}

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

func doTakeOver(e *env) error {
	if file := e.cli.String("view"); file != "" {
		text, err := readText(file)
		if err != nil {
			return err
		}
		v, err := tunnel.ParseView(text)
		if err != nil {
			return err
		}
		return takeOverHere(e, v)
	}
	here := func(v *tunnel.View) error { return takeOverHere(e, v) }
	return onHostOfView(e, here, func(t *tunnel.Tunnel, v *tunnel.View) error {
		return e.hosts.TakeOver(e.ctx, t, v, e.cli.Bool("dry-run"))
	})
}

func doGiveBack(e *env) error { return onHost(e, giveBackTaken, giveBackThere) }

func giveBackThere(e *env, host string) error {
	t, own, err := tunnelOf(e, host)
	if err != nil {
		return err
	}
	return e.hosts.GiveBack(e.ctx, t, host, own, e.cli.Bool("dry-run"))
}

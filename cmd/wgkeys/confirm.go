package main

import (
	"github.com/urfave/cli/v2"
)

func confirmCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "confirm",
		UsageText: "wgkeys apply --confirm 5m; wgkeys confirm\n" +
			"wgkeys confirm shale",
		Usage:       "keep what apply did, before it is undone",
		ArgsUsage:   "[HOST...|--all]",
		Description: "Without HOST: on this machine. apply over ssh confirms by itself, over a new\nconnection: if that fails the host undoes the apply.",
		Flags:       []cli.Flag{allFlag, jobsFlag, tunnelFlag, hostFlag, ofFlag, ofKeyFlag, tokenFlag, jsonFlag, timeoutFlag},
	}, doConfirm
}

// A confirmation is what came of one, for programs.
type confirmation struct {
	Tunnel    string `json:"tunnel"`
	Confirmed bool   `json:"confirmed"` // an apply waited for it
}

func doConfirm(e *env) error {
	if namesMany(e) {
		return confirmMany(e)
	}
	token, json := e.cli.String("token"), e.cli.Bool("json")
	here := func(e *env, tunnel string) error { return confirmHere(e, tunnel, token, json) }
	return onApplied(e, e.cli.String("tunnel"), here, confirmThere)
}

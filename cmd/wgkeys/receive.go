package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"wgkeys/deploy/push"
)

func receiveCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:      "receive",
		Usage:     "take key files from push, on the host",
		ArgsUsage: "[FILE...]",
		Hidden:    true,
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "protocol", Usage: "tell the protocol's version"}},
	}, doReceive
}

func doReceive(e *env) error {
	if e.cli.Bool("protocol") {
		e.ui.Printf("%d\n", push.Protocol)
		return nil
	}
	return push.Receive(os.Stdin, e.ui.Stdout, e.names())
}

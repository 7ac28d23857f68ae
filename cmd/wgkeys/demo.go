package main

import (
	"github.com/urfave/cli/v2"
)

func demoCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:      "demo",
		UsageText: "wgkeys demo",
		Usage:     "show all of it on three hosts made of network namespaces; needs root",
		Description: "basalt is a workstation behind IPv4 only, shale a VPS that learned its default\n" +
			"route from router advertisements. Every command is shown before it runs. Nothing\n" +
			"of it touches this machine, and nothing is left behind.",
	}, doDemo
}

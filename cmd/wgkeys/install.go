package main

import (
	"bytes"
	"errors"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
)

// placedFlag tells the program that install HOST has put on a host to do the rest.
var placedFlag = &cli.BoolFlag{Name: "placed", Hidden: true}

func installCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "install",
		UsageText: "wgkeys install --up shale basalt      # everything, from nothing\n" +
			"wgkeys install -n                     # what it would do on this machine",
		Usage:     "install this program on hosts, and bring tunnels up at boot",
		ArgsUsage: "[HOST...|--all]",
		Description: "On each HOST, which needs only sshd and sh: puts this program at\n" +
			"/usr/local/bin/wgkeys over ssh, where it is another one, and has the tunnels that\n" +
			"were applied there come up at boot. A host of another architecture gets the program\n" +
			"of --programs, or one that Go builds of --source. What runs there goes on. What has\n" +
			"that name and is not wgkeys stays, and the host fails, unless -y is given; so does a\n" +
			"wgkeys that is newer than this one, unless --downgrade is.\n" +
			"\n" +
			"Without HOST: the same for this machine. It is systemd's units wgkeys@TUNNEL, a\n" +
			"script of OpenRC's, or a hook of ifupdown's. At boot the last view that apply kept\n" +
			"is applied; no repository is needed. Network managers that are installed are told\n" +
			"to leave the interfaces alone.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "up", Usage: "with HOST: also install its key files and apply its tunnels"},
			&cli.StringFlag{Name: "programs", Usage: "take programs for other architectures from `DIR`: wgkeys-linux-ARCH"},
			&cli.StringFlag{Name: "source", Usage: "build them with Go in `DIR`, a checkout of wgkeys"},
			&cli.BoolFlag{Name: "ifupdown", Usage: "use ifupdown's hook, whatever else starts services"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "also replace a program of that name that is not wgkeys"},
			&cli.BoolFlag{Name: "downgrade", Usage: "also replace a wgkeys that is newer than this one"},
			allFlag, jobsFlag, stopAfterFlag,
			tunnelFlag, hostFlag, identityFlag, unknownFlag, confirmFlag, dryRunFlag, jsonFlag, timeoutFlag, placedFlag,
		},
	}, doInstall
}

func doInstall(e *env) error {
	if len(e.names()) > 0 || e.cli.Bool("all") {
		return installThere(e)
	}
	for _, flag := range []string{"up", "programs", "source", "stop-after"} {
		if e.cli.IsSet(flag) {
			return ui.Usage("no host named for", "wgkeys install --"+flag, "it is about other hosts", "wgkeys install --help")
		}
	}
	if !e.cli.Bool("json") {
		return installHere(e)
	}
	var steps bytes.Buffer
	out := e.ui.Stdout
	e.ui.Stdout = &steps
	err := installHere(e)
	e.ui.Stdout = out
	if err != nil && steps.Len() == 0 {
		return err
	}
	return errors.Join(err, e.ui.JSON(installed{Steps: linesOf(&steps)}))
}

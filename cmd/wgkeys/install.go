package main

import (
	"bytes"
	"errors"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/install"
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

// installOptions say how the program is installed.
type installOptions struct {
	dryRun, json bool
	others       bool   // also over a program that is not wgkeys
	downgrade    bool   // also over a newer one
	placed       bool   // the program is in its place already
	ifupdown     bool   // ifupdown brings tunnels up, whatever else starts services
	tunnel       string // the one to bring up at boot; "": all
	up           bool   // on other hosts: key files and tunnels, too
	apply        remote.ApplyOptions
}

func doInstall(e *env) error {
	o := installOptions{dryRun: e.cli.Bool("dry-run"), json: e.cli.Bool("json"), others: e.cli.Bool("yes"),
		downgrade: e.cli.Bool("downgrade"), placed: e.cli.Bool("placed"), ifupdown: e.cli.Bool("ifupdown"),
		tunnel: e.cli.String("tunnel"), up: e.cli.Bool("up"), apply: applyOptions(e)}
	if len(e.names()) > 0 || e.cli.Bool("all") {
		return installThere(e, o, &install.Programs{Folder: e.cli.String("programs"), Source: e.cli.String("source")})
	}
	for _, flag := range []string{"up", "programs", "source", "stop-after"} {
		if e.cli.IsSet(flag) {
			return ui.Usage("no host named for", "wgkeys install --"+flag, "it is about other hosts", "wgkeys install --help")
		}
	}
	if !o.json {
		return installHere(e, o)
	}
	var steps bytes.Buffer
	out := e.ui.Stdout
	e.ui.Stdout = &steps
	err := installHere(e, o)
	e.ui.Stdout = out
	if err != nil && steps.Len() == 0 {
		return err
	}
	return errors.Join(err, e.ui.JSON(installed{Steps: linesOf(&steps)}))
}

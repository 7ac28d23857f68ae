package main

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/words"
)

// run is the program without its process: arguments to error. A verb calls begin first, and
// ends early when the context that it returns does.
func run(begin func(*ui.UI, string) context.Context, u *ui.UI, args []string) error {
	app := newApp(begin, u)
	if len(args) > 1 && args[1] == "help" {
		return helpCommand(u, app, args[2:])
	}
	if len(args) > 1 && args[1] == askComplete {
		complete(u, app, args[2:])
		return nil
	}
	args, asked := permute(app, args)
	if asked {
		return helpOfVerb(u, app, args[1:])
	}
	return app.Run(args)
}

// slipOf makes err a usage error if the command line names a host or a tunnel that does not
// exist.
func slipOf(err error) error {
	if _, coded := errors.AsType[*ui.ExitError](err); !coded && errors.Is(err, tunnel.ErrNoSuch) {
		return ui.ExitWith(ui.ExitUsage, err)
	}
	return err
}

// A starter runs verbs: begin prepares the process for one, and returns the context that ends
// it.
type starter struct {
	begin func(*ui.UI, string) context.Context
	ui    *ui.UI
}

// verb gives a command the flags of all verbs, and has action run it.
func (s starter) verb(c *cli.Command, action func(*env) error) *cli.Command {
	c.Flags = append(c.Flags, habits()...)
	c.HideHelp = true // otherwise "h" and "help" are its subcommands, not names of hosts
	c.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
		return ui.Usage("cannot read the command line of", "wgkeys "+c.Name, flagError(err, c.Flags).Error(),
			"wgkeys "+c.Name+" --help")
	}
	c.Action = func(ctxt *cli.Context) error {
		ctx := s.begin(s.ui, c.Name)
		s.ui.End = ctx.Done()
		s.ui.TellEnd = ctxt.Bool(ui.EndFlag)
		s.ui.Quiet, s.ui.Verbose = ctxt.Bool("quiet"), ctxt.Bool("verbose")
		if err := checkDurations(ctxt); err != nil {
			return err
		}
		looks.Store(slices.Contains(lookers, c.Name))
		return slipOf(action(newEnv(ctx, s.ui, ctxt)))
	}
	return c
}

func newApp(begin func(*ui.UI, string) context.Context, u *ui.UI) *cli.App {
	verb := starter{begin, u}.verb
	return &cli.App{
		Name:           "wgkeys",
		Usage:          "WireGuard keys in a vault, tunnels in plain text",
		HideHelp:       true, // package cli's own: see help.go
		HideVersion:    true,
		Writer:         u.Stdout,
		ErrWriter:      io.Discard,
		ExitErrHandler: func(*cli.Context, error) {},

		DisableSliceFlagSeparator: true, // a comma is a letter of a file's name
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			why := "flags belong to a verb, and none is named"
			if name := undefinedFlag(err); words.Nearest(name, slices.Values([]string{"version"})) != "" || name == "V" {
				why = "there is no flag " + dashed(name) + ": did you mean --version?"
			}
			return ui.Usage("cannot read the command line of", "wgkeys", why, "wgkeys --help")
		},
		Flags: []cli.Flag{&cli.BoolFlag{Name: "version", Usage: "tell which wgkeys this is"}},
		Action: func(c *cli.Context) error {
			if c.Bool("version") {
				u.Printf("%s\n", version())
				return nil
			}
			if c.NArg() == 0 {
				return help(u, c.App, nil)
			}
			return noSuchVerb(c.Args().First(), c.App)
		},
		Commands: []*cli.Command{
			verb(initCommand()),
			verb(genCommand()),
			verb(pushCommand()),
			verb(rotateCommand()),
			verb(rekeyCommand()),
			verb(mvCommand()),
			verb(statusCommand()),
			verb(showCommand()),
			verb(planCommand()),
			verb(applyCommand()),
			verb(confirmCommand()),
			verb(downCommand()),
			verb(checkCommand()),
			verb(installCommand()),
			verb(uninstallCommand()),
			verb(importCommand()),
			verb(exportCommand()),
			verb(graphCommand()),
			verb(qrCommand()),
			verb(demoCommand()),
			verb(completionCommand()),
			verb(receiveCommand()),
			verb(participantCommand()),
		},
	}
}

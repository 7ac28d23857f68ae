package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
)

// run is the program without its process: args to exit code. A verb begins with begin and
// ends early with the context that it returns.
func run(begin func(*ui.UI, string) context.Context, u *ui.UI, args []string) error {
	app := newApp(begin, u)
	if len(args) > 1 && args[1] == "help" {
		return helpCommand(u, app, args[2:])
	}
	args, asked := permute(app, args)
	if asked {
		return helpOfVerb(u, app, args[1:])
	}
	return app.Run(args)
}

func newApp(begin func(*ui.UI, string) context.Context, u *ui.UI) *cli.App {
	verb := func(c *cli.Command, action func(*env) error) *cli.Command {
		c.Flags = append(c.Flags, habits()...)
		c.HideHelp = true // else "h" and "help" are its subcommands, not names of hosts
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
			return ui.Usage("cannot read the command line of", "wgkeys "+c.Name, flagError(err, c.Flags).Error(),
				"wgkeys "+c.Name+" --help")
		}
		c.Action = func(ctxt *cli.Context) error {
			ctx := begin(u, c.Name)
			u.End = ctx.Done()
			u.Quiet, u.Verbose = ctxt.Bool("quiet"), ctxt.Bool("verbose")
			if err := checkTimeout(ctxt); err != nil {
				return err
			}
			looks.Store(slices.Contains(lookers, c.Name))
			return action(newEnv(ctx, u, ctxt))
		}
		return c
	}
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
			return ui.Usage("cannot read the command line of", "wgkeys", "flags belong to a verb, and none is named",
				"wgkeys --help")
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
			verb(receiveCommand()),
			verb(participantCommand()),
		},
	}
}

// permute moves the flags before the names, because package cli stops reading
// flags at the first name: "wgkeys gen basalt -t wg1" and "wgkeys -C repo gen
// basalt" mean what they say. After "--" everything is a name. The names are left
// out where help is asked for or a flag lacks its value: package cli would take
// "--" for the value.
func permute(app *cli.App, args []string) (sorted []string, help bool) {
	valued := valueFlags(app, args[1:])
	var verb, flags, names []string
	for i := 1; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			names = append(names, args[i+1:]...)
			i = len(args)
		case flagName(a) == "h" || flagName(a) == "help":
			help = true
		case valued[flagName(a)] && i+1 == len(args):
			return slices.Concat(args[:1], verb, flags, []string{a}), help
		case valued[flagName(a)]:
			flags = append(flags, a, args[i+1])
			i++
		case flagName(a) != "":
			flags = append(flags, a)
		case verb == nil:
			verb = []string{a}
		default:
			names = append(names, a)
		}
	}
	if help {
		return slices.Concat(args[:1], verb), true
	}
	sorted = slices.Concat(args[:1], verb, flags)
	if names != nil {
		sorted = append(append(sorted, "--"), names...)
	}
	return sorted, false
}

// flagName is what follows the dashes of a flag, "" if arg is none.
func flagName(arg string) string {
	if !strings.HasPrefix(arg, "-") {
		return ""
	}
	return strings.TrimLeft(arg, "-")
}

// valueFlags are the names of the flags that take a value: of one that does for some
// verbs alone, whether it does for the verb that args are for.
func valueFlags(app *cli.App, args []string) map[string]bool {
	valued, plain := map[string]bool{}, map[string]bool{}
	for _, c := range app.Commands {
		addFlags(c, valued, plain)
	}
	for name := range plain {
		delete(valued, name)
	}
	for i := 0; i < len(args); i++ {
		switch name := flagName(args[i]); {
		case valued[name]:
			i++
		case name == "": // the verb
			if c := app.Command(args[i]); c != nil {
				addFlags(c, valued, plain)
			}
			return valued
		}
	}
	return valued
}

// addFlags adds the names of a command's flags: those that take a value, and the others.
func addFlags(c *cli.Command, valued, plain map[string]bool) {
	for _, f := range c.Flags {
		names := valued
		if _, ok := f.(*cli.BoolFlag); ok {
			names = plain
		}
		for _, name := range f.Names() {
			names[name] = true
		}
	}
}

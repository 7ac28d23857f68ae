package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
)

// The flags that several verbs know.

var (
	tunnelFlag = &cli.StringFlag{Name: "tunnel", Aliases: []string{"t"},
		Usage: "the `TUNNEL`; not needed if there is only one"}
	identityFlag = &cli.StringSliceFlag{Name: "identity", Aliases: []string{"i"},
		Usage: "decrypt with the age identity in `FILE`; may be repeated"}
	dryRunFlag = &cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "show what would be done, and do nothing"}
	jsonFlag   = &cli.BoolFlag{Name: "json", Usage: "write the result for programs"}
	commitFlag = &cli.BoolFlag{Name: "commit", Usage: "commit what was changed, and nothing else, to git"}
	// ofFlag and ofKeyFlag say on a host which one the caller takes it for.
	ofFlag    = &cli.StringFlag{Name: ui.OfFlag, Hidden: true}
	ofKeyFlag = &cli.StringSliceFlag{Name: ui.OfKeyFlag, Hidden: true}
	hostFlag  = &cli.StringFlag{Name: "host", Usage: "this machine is `HOST`", DefaultText: "its short name"}
)

// habits are the flags that all verbs know.
func habits() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "C", Usage: "work in the repository of `DIR`", DefaultText: "here"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only errors and warnings"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say more"},
		&cli.BoolFlag{Name: ui.EndFlag, Hidden: true},
	}
}

const defaultTimeout = 30 * time.Second

// timeoutFlag is how long a host may be silent: the same for every verb.
var timeoutFlag = &cli.DurationFlag{Name: "timeout",
	Usage: "give up a host that says nothing for `DURATION`", Value: defaultTimeout}

// checkDurations refuses a limit that no host could meet, and a negative time for a
// confirmation, which would count as none.
func checkDurations(c *cli.Context) error {
	verb := "wgkeys " + c.Command.Name
	switch {
	case c.IsSet("timeout") && c.Duration("timeout") < time.Second:
		return ui.Usage("too short a --timeout for", verb, "no host answers in less than a second", verb+" --timeout 30s")
	case c.Duration("confirm") < 0:
		return ui.Usage("--confirm must not be negative", "", "0 applies without a confirmation", verb+" --confirm 30s")
	}
	return nil
}

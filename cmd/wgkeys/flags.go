package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/many"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/words"
)

// The flags that several verbs know, and what these read of their command lines.

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

// The flags of verbs that take several hosts.
var (
	allFlag  = &cli.BoolFlag{Name: "all", Usage: "every host of the tunnel but this machine"}
	jobsFlag = &cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "work on `N` hosts at once",
		Value: many.DefaultJobs}
	stopAfterFlag = &cli.IntFlag{Name: "stop-after", Usage: "begin no more hosts after `N` have failed",
		DefaultText: "never"}
)

// checkJobs refuses numbers below 1.
func checkJobs(e *env) error {
	help := "wgkeys " + e.cli.Command.Name + " --help"
	for _, flag := range []string{"jobs", "stop-after", "batch"} {
		if e.cli.IsSet(flag) && e.cli.Int(flag) < 1 {
			name := "--" + flag
			if flag == "jobs" {
				name = "-j"
			}
			return ui.Usage(name+" must be at least 1", "", "", help)
		}
	}
	return nil
}

// namesMany reports whether the command line may select several hosts, even if it selects
// one: then messages begin with the host's name.
func namesMany(e *env) bool {
	return e.cli.Bool("all") || len(e.names()) > 1 || slices.ContainsFunc(e.names(), tunnel.IsPattern)
}

// hostsMeant returns the hosts that the command line selects in some tunnels. If it names
// none there are none, and the verb decides what that means.
func hostsMeant(e *env, tunnels []*tunnel.Tunnel) ([]string, error) {
	named := e.names()
	if e.cli.Bool("all") {
		named = append(named, tunnel.All)
	}
	hosts, err := tunnel.Select(tunnels, named)
	if err != nil {
		return nil, ui.ExitWith(ui.ExitUsage, err)
	}
	return hosts, nil
}

// crewOptions say how work on several hosts is done.
type crewOptions struct {
	jobs      int  // at once
	stopAfter int  // begin no more after so many failures; 0: never stop
	json      bool // the result is for programs
}

func crewOptionsOf(e *env) crewOptions {
	return crewOptions{e.cli.Int("jobs"), e.cli.Int("stop-after"), e.cli.Bool("json")}
}

// flagsOf returns the flags that were given, without some, for another command line.
func flagsOf(e *env, but ...string) (line []string) {
	for _, f := range e.cli.Command.Flags {
		name := f.Names()[0]
		if !e.cli.IsSet(name) || name == "all" || name == "C" || slices.Contains(but, name) { // a hint says the folder itself
			continue
		}
		dashed := "--" + name
		switch f.(type) {
		case *cli.BoolFlag:
			if e.cli.Bool(name) { // --name=false is the default
				line = append(line, dashed)
			}
		case *cli.StringSliceFlag:
			for _, v := range e.cli.StringSlice(name) {
				line = append(line, dashed, words.ForShell(v))
			}
		default:
			line = append(line, dashed, words.ForShell(fmt.Sprint(e.cli.Value(name))))
		}
	}
	return line
}

// takenFor is the host for which the caller takes this one, and that host's public keys; "": the
// caller does not say.
func takenFor(e *env) (host string, keys []string) {
	return e.cli.String(ui.OfFlag), e.cli.StringSlice(ui.OfKeyFlag)
}

// viewOf is the view of the host named on the command line, or of this machine.
func viewOf(e *env) (*tunnel.View, *tunnel.Tunnel, error) {
	verb := e.cli.Command.Name
	host, err := e.oneName(e.thisHost)
	if err != nil {
		return nil, nil, err
	}
	r, err := e.repo()
	if err != nil {
		return nil, nil, err
	}
	t, err := e.tunnel(r)
	if err != nil {
		return nil, nil, err
	}
	if len(e.names()) == 0 && !e.cli.IsSet("host") && !slices.Contains(t.Hosts(), host) {
		return nil, nil, ui.Usage("no host named for", "wgkeys "+verb,
			"this machine is "+host+", which is not a host of tunnel "+t.Name+"; those are "+strings.Join(t.Hosts(), ", "),
			"wgkeys "+verb+" HOST, or --host HOST if this machine is one of them")
	}
	v, err := r.View(t, host)
	return v, t, err
}

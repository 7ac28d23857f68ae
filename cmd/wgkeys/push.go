package main

import (
	"errors"
	"slices"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/keys"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/push"
)

func pushCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:      "push",
		Usage:     "install key files on hosts, where they differ",
		ArgsUsage: "HOST...|--all",
		Description: "The hosts are asked first what they have: a key that agrees is not decrypted,\n" +
			"and with nothing to do no identity is needed. A file that holds anything but a\n" +
			"key is not replaced, nor is a key that neither the repository nor its history has:\n" +
			"the clone may be behind. This machine is served only if it is named, also with --all.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "every host of the tunnels"},
			&cli.BoolFlag{Name: "unknown", Usage: "also replace a key that this repository does not know"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "serve `N` hosts at once", Value: push.DefaultJobs},
			tunnelFlag, identityFlag, hostFlag, dryRunFlag, jsonFlag, timeoutFlag,
		},
	}, doPush
}

func doPush(e *env) error {
	if len(e.names()) == 0 && !e.cli.Bool("all") {
		return ui.Usage("no host named for", "wgkeys push", "it serves the hosts that you name", "wgkeys push HOST..., or wgkeys push --all")
	}
	if e.cli.Int("jobs") < 1 {
		return ui.Usage("-j must be at least 1", "", "", "wgkeys push --help")
	}
	r, err := e.repo()
	if err != nil {
		return err
	}
	ids := e.identities()
	defer e.warnLoose(ids)
	dry := e.cli.Bool("dry-run")
	o := keys.PushOptions{Hosts: e.names(), All: e.cli.Bool("all"), Only: e.cli.String("tunnel"), Unknown: e.cli.Bool("unknown"), DryRun: dry, Jobs: e.cli.Int("jobs"), Done: func(o push.Outcome) { reportPush(e, o) }}
	if e.cli.Bool("json") {
		o.Done = func(push.Outcome) {}
	}
	outcomes, err := e.maker(r, ids).Push(e.ctx, o)
	if err != nil {
		return err
	}
	var errs []error
	for _, o := range outcomes {
		if o.Err != nil {
			errs = append(errs, o.Err)
		}
	}
	if e.cli.Bool("json") {
		if err := e.ui.JSON(pushJSON(outcomes)); err != nil {
			return err
		}
	}
	if dry && len(errs) == 0 && slices.ContainsFunc(outcomes, toPush) {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return failures(len(errs), len(outcomes), errors.Join(errs...))
}

// toPush reports whether a push has, or would have, something to install on a host.
func toPush(o push.Outcome) bool {
	return slices.ContainsFunc(o.Results, func(r push.Result) bool { return r.Action != push.Unchanged })
}

func reportPush(e *env, o push.Outcome) {
	for _, f := range o.Results {
		action := string(f.Action)
		if e.cli.Bool("dry-run") && f.Action != push.Unchanged {
			action = "to be " + action
		}
		if f.Was == push.NoKey {
			action += ", and held no key"
		}
		switch {
		case f.Next:
			action += ", holds its next key: wgkeys rotate " + o.Host + " finishes the rotation"
		case f.HostOnly && f.Action == push.Unchanged:
			action = "nothing to push: " + o.Host + " made its key itself"
		}
		e.ui.Printf("%s %s %s\n", o.Host, f.Path, action)
	}
}

// A pushedHost is an outcome for programs.
type pushedHost struct {
	Host  string        `json:"host"`
	Files []push.Result `json:"files"`
	Error string        `json:"error,omitempty"`
}

func pushJSON(outcomes []push.Outcome) []pushedHost {
	out := make([]pushedHost, len(outcomes))
	for i, o := range outcomes {
		out[i] = pushedHost{Host: o.Host, Files: append([]push.Result{}, o.Results...)}
		if o.Err != nil {
			out[i].Error = o.Err.Error()
		}
	}
	return out
}

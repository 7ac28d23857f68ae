package main

import (
	"context"
	"errors"
	"slices"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/keys"
	"wgkeys/cmd/internal/many"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/push"
	"wgkeys/deploy/tunnel"
)

func pushCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "push",
		UsageText: "wgkeys push shale\n" +
			"wgkeys push --all -n                  # what is not there yet\n" +
			"wgkeys push -j 32 'web*' @db",
		Usage:     "install key files on hosts, where they differ",
		ArgsUsage: "HOST...|--all",
		Description: "The hosts are asked first what they have: a key that agrees is not decrypted,\n" +
			"and with nothing to do no identity is needed. A file that holds anything but a\n" +
			"key is not replaced, nor is a key that neither the repository nor its history has:\n" +
			"the clone may be behind. This machine is served only if it is named, also with --all.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "every host of the tunnels"},
			&cli.BoolFlag{Name: "unknown", Usage: "also replace a key that this repository does not know"},
			jobsFlag, stopAfterFlag,
			tunnelFlag, identityFlag, hostFlag, dryRunFlag, jsonFlag, timeoutFlag,
		},
	}, doPush
}

func doPush(e *env) error {
	if len(e.names()) == 0 && !e.cli.Bool("all") {
		return ui.Usage("no host named for", "wgkeys push", "it serves the hosts that you name",
			"wgkeys push HOST..., or wgkeys push --all")
	}
	if err := checkJobs(e); err != nil {
		return err
	}
	r, err := e.repo()
	if err != nil {
		return err
	}
	o, err := pushOptions(e, r)
	if err != nil {
		return err
	}
	json := e.cli.Bool("json")
	ids := e.identities()
	defer e.warnLoose(ids)
	live := e.ui.Live(len(o.Hosts))
	o.Count = live.SetTotal
	o.Begun = func(host string) { live.At(host, "...") }
	o.Done = func(p keys.Pushed) {
		live.Done(p.Host, p.Err != nil, func() {
			if !json {
				reportPush(e, live, p, o.DryRun)
			}
		})
	}
	e.hosts.Uninterrupted = namesMany(e) && interruptible()
	ctx := e.ctx
	if namesMany(e) {
		ctx = context.WithoutCancel(ctx) // those under way are finished
		defer sayStopping(e, live)()
	}
	pushed, err := e.maker(r, ids).Push(ctx, o)
	live.End()
	if err != nil {
		return err
	}
	return pushedAll(e, pushed, o.DryRun, json)
}

// pushOptions are those of the command line.
func pushOptions(e *env, r *repo.Repo) (o keys.PushOptions, err error) {
	o = keys.PushOptions{Only: e.cli.String("tunnel"), Unknown: e.cli.Bool("unknown"), DryRun: e.cli.Bool("dry-run"),
		Jobs: e.cli.Int("jobs"), StopAfter: e.cli.Int("stop-after"), Stop: e.ctx.Done()}
	o.Named = slices.DeleteFunc(e.names(), tunnel.IsPattern)
	tunnels, err := r.SomeTunnels(o.Only)
	if err == nil {
		o.Hosts, err = hostsMeant(e, tunnels)
	}
	return o, err
}

// pushedAll reports the outcome of a push.
func pushedAll(e *env, pushed []keys.Pushed, dry, json bool) error {
	outcomes := make([]many.Outcome, len(pushed))
	todo := false
	for i, p := range pushed {
		outcomes[i] = p.Outcome
		todo = todo || toPush(p)
	}
	if json {
		if err := e.ui.JSON(pushJSON(pushed)); err != nil {
			return err
		}
	}
	var err error
	switch s := many.Sum(outcomes); {
	case namesMany(e):
		err = summary(e, outcomes)
	case len(s.NotBegun) > 0: // it was interrupted before
		err = context.Cause(e.ctx)
	default:
		err = failures(len(s.Failed), len(outcomes), errors.Join(s.Errs...))
	}
	if err == nil && todo && dry {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return err
}

// toPush reports whether a push installs, or would install, something on a host.
func toPush(p keys.Pushed) bool {
	return slices.ContainsFunc(p.Results, func(r push.Result) bool { return r.Action != push.Unchanged })
}

func reportPush(e *env, live *ui.Live, o keys.Pushed, dry bool) {
	if o.Err != nil && namesMany(e) {
		live.OfHost(o.Host, "failed")
	}
	for _, f := range o.Results {
		action := string(f.Action)
		if dry && f.Action != push.Unchanged {
			action = "to be " + action
		}
		if f.Was == push.NoKey {
			action += ", and held no key"
		}
		if other := o.Other[f.Path]; other != "" {
			action += ", and held the key of " + other + ": its disk was copied, or ssh reaches one machine by both names"
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

// A pushedHost is the outcome for a host, for programs.
type pushedHost struct {
	Host  string        `json:"host"`
	Files []push.Result `json:"files"`
	Error string        `json:"error,omitempty"`
}

func pushJSON(outcomes []keys.Pushed) []pushedHost {
	out := make([]pushedHost, len(outcomes))
	for i, o := range outcomes {
		out[i] = pushedHost{Host: o.Host, Files: append([]push.Result{}, o.Results...)}
		if o.Err != nil {
			out[i].Error = o.Err.Error()
		}
	}
	return out
}

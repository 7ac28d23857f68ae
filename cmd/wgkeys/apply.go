package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// journals is where the host remembers what apply touched. It is empty after a
// reboot, and so is the kernel.
const journals = "/run/wgkeys"

// stdinFlag is how apply HOST hands the view to the wgkeys of the host.
var stdinFlag = &cli.BoolFlag{Name: "stdin", Usage: "read the view, as show --json writes it, from standard input"}

func planCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:        "plan",
		Usage:       "show what apply would do, step by step, and why",
		ArgsUsage:   "[HOST]",
		Description: "Without HOST: on this machine. Exit code 4 if there is a step to take.",
		Flags:       []cli.Flag{tunnelFlag, hostFlag, stdinFlag, jsonFlag},
	}, func(e *env) error { return e.applyOrPlan(true) }
}

func applyCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:      "apply",
		Usage:     "make the tunnel file true on a host",
		ArgsUsage: "[HOST]",
		Description: "Without HOST: on this machine. The plan is shown first. If a step fails, those\n" +
			"taken are undone.",
		Flags: []cli.Flag{tunnelFlag, hostFlag, stdinFlag, dryRunFlag, jsonFlag},
	}, func(e *env) error { return e.applyOrPlan(e.cli.Bool("dry-run")) }
}

func downCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:        "down",
		Usage:       "undo apply: everything is as it was before",
		ArgsUsage:   "[HOST]",
		Description: "Without HOST: on this machine, where neither repository nor tunnel file is needed.",
		Flags:       []cli.Flag{tunnelFlag, hostFlag, dryRunFlag, jsonFlag},
	}, doDown
}

// applyOrPlan works here, or has the wgkeys of another host do so.
func (e *env) applyOrPlan(planOnly bool) error {
	if e.cli.Bool("stdin") {
		v, err := tunnel.DecodeView(os.Stdin)
		if err != nil {
			return err
		}
		return e.applyHere(v, planOnly)
	}
	v, t, err := e.view()
	if err != nil {
		return err
	}
	here, err := e.thisHost()
	if err != nil {
		return err
	}
	if v.Host == here {
		return e.applyHere(v, planOnly)
	}
	return e.applyThere(t, v, planOnly)
}

// applyHere holds the lock from the first look at the kernel to the last step:
// a plan is good only for what it was made from.
func (e *env) applyHere(v *tunnel.View, planOnly bool) error {
	if !planOnly {
		unlock, err := apply.Lock(e.ctx, journals, e.sayWaiting)
		if err != nil {
			return err
		}
		defer unlock()
	}
	k, err := linux.Open()
	if err != nil {
		return err
	}
	defer k.Close()
	j, others, err := openJournals(v.Tunnel)
	if err != nil {
		return err
	}
	state, err := k.Observe(e.ctx, v.Tunnel, v, j.Entries)
	if err != nil {
		return fault.Wrap(err, "cannot read the state of tunnel", v.Tunnel, "")
	}
	plan, err := apply.Make(v, state, j, others)
	if err != nil {
		return err
	}
	return e.take(k, j, plan, planOnly, apply.Run)
}

func (e *env) sayWaiting(pid int) {
	e.ui.say("waiting for process %d, which is changing a tunnel on this host", pid)
}

func openJournals(tunnel string) (*apply.Journal, apply.Entries, error) {
	j, err := apply.OpenJournal(journals, tunnel)
	if err != nil {
		return nil, nil, err
	}
	others, err := apply.Others(journals, tunnel)
	return j, others, err
}

type runFunc func(context.Context, apply.Kernel, *apply.Journal, *apply.Plan, func(apply.Step)) error

// take shows the plan and, unless it is all that is wanted, follows it.
func (e *env) take(k apply.Kernel, j *apply.Journal, plan *apply.Plan, planOnly bool, run runFunc) error {
	if err := e.showPlan(plan); err != nil {
		return err
	}
	switch {
	case planOnly && len(plan.Steps) > 0:
		return &exitError{code: exitFindings}
	case planOnly:
		return nil
	}
	return run(e.ctx, testOnlyKernel(k), j, plan, func(apply.Step) {})
}

// testOnlyKernel lets a test make a step fail, or kill the process at one.
var testOnlyKernel = func(k apply.Kernel) apply.Kernel { return k }

func (e *env) showPlan(plan *apply.Plan) error {
	if e.cli.Bool("json") {
		return e.ui.json(planJSON(plan))
	}
	for _, note := range plan.Notes {
		e.ui.say("note: %s", note)
	}
	if len(plan.Steps) == 0 {
		e.ui.say("%s: nothing to do", plan.Tunnel)
	}
	if e.ui.quiet {
		return nil
	}
	for _, s := range plan.Steps {
		if apply.TouchesKernel(s.Change) || e.ui.verbose {
			e.ui.printf("%s  # %s\n", s.Change, s.Why)
		}
	}
	return nil
}

// A planned is a plan for programs.
type planned struct {
	Tunnel string        `json:"tunnel"`
	Host   string        `json:"host,omitempty"`
	Steps  []plannedStep `json:"steps"`
	Notes  []string      `json:"notes,omitempty"`
}

type plannedStep struct {
	Step string `json:"step"`
	Why  string `json:"why"`
}

func planJSON(p *apply.Plan) planned {
	out := planned{p.Tunnel, p.Host, []plannedStep{}, p.Notes}
	for _, s := range p.Steps {
		out.Steps = append(out.Steps, plannedStep{s.Change.String(), s.Why})
	}
	return out
}

func doDown(e *env) error {
	here, err := e.thisHost()
	if err != nil {
		return err
	}
	host, err := e.oneName(func() (string, error) { return here, nil })
	if err != nil {
		return err
	}
	if host != here {
		return e.downThere(host)
	}
	name, err := e.downTunnel()
	if err != nil || name == "" {
		return err
	}
	return e.downHere(name)
}

func (e *env) downHere(name string) error {
	dry := e.cli.Bool("dry-run")
	if !dry {
		unlock, err := apply.Lock(e.ctx, journals, e.sayWaiting)
		if err != nil {
			return err
		}
		defer unlock()
	}
	k, err := linux.Open()
	if err != nil {
		return err
	}
	defer k.Close()
	j, others, err := openJournals(name)
	if err != nil {
		return err
	}
	state, err := k.Observe(e.ctx, name, nil, j.Entries)
	if err != nil {
		return fault.Wrap(err, "cannot read the state of tunnel", name, "")
	}
	return e.take(k, j, apply.MakeDown(name, state, j, others), dry, apply.RunDown)
}

// downTunnel is the tunnel to take down: the one named, or the only one that
// was applied here. It is "" where none was.
func (e *env) downTunnel() (string, error) {
	if t := e.cli.String("tunnel"); t != "" {
		if err := tunnel.CheckName(t); err != nil {
			return "", usage("no tunnel can be named", t, err.Error(), "wgkeys down --help")
		}
		return t, nil
	}
	files, err := os.ReadDir(journals)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fault.Wrap(fault.Errno(err), "cannot read the folder", journals, "sudo wgkeys down")
	}
	var names []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(filepath.Base(f.Name()), ".journal"); ok {
			names = append(names, name)
		}
	}
	switch len(names) {
	case 0:
		e.ui.say("nothing to do: no tunnel of wgkeys is up on this machine")
		return "", nil
	case 1:
		return names[0], nil
	}
	return "", usage("which tunnel to take", "down", "those up are "+strings.Join(names, ", "), "wgkeys down -t "+names[0])
}

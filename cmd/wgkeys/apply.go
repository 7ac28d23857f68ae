package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

var (
	// viewFlag is how apply HOST hands the view to the wgkeys of the host, and
	// how a host comes up at boot.
	viewFlag = &cli.StringFlag{Name: "view", Usage: "apply the view in `FILE`, as show --json writes it; - is standard input"}
	// keptFlag is how the units ask for it: where it is kept they need not know.
	keptFlag    = &cli.BoolFlag{Name: "kept", Usage: "apply the view that the last apply on this machine kept"}
	confirmFlag = &cli.DurationFlag{Name: "confirm", Usage: "undo it after `DURATION` unless wgkeys confirm comes first", DefaultText: "30s over ssh, 0 here"}
	unknownFlag = &cli.BoolFlag{Name: "unknown", Usage: "also with keys that the host has others for since"}
	tokenFlag   = &cli.StringFlag{Name: "token", Hidden: true}
)

func planCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:        "plan",
		Usage:       "show what apply would do, step by step, and why",
		ArgsUsage:   "[HOST]",
		Description: "Without HOST: on this machine. Exit code 4 if there is a step to take.",
		Flags:       []cli.Flag{tunnelFlag, hostFlag, viewFlag, keptFlag, unknownFlag, jsonFlag, timeoutFlag},
	}, func(e *env) error { return e.applyOrPlan(true) }
}

func applyCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:      "apply",
		Usage:     "make the tunnel file true on a host",
		ArgsUsage: "[HOST]",
		Description: "Without HOST: on this machine. The plan is shown first. If a step fails, those\n" +
			"taken are undone.",
		Flags: []cli.Flag{tunnelFlag, hostFlag, viewFlag, keptFlag, unknownFlag, dryRunFlag, jsonFlag, confirmFlag, tokenFlag, timeoutFlag},
	}, func(e *env) error { return e.applyOrPlan(e.cli.Bool("dry-run")) }
}

func downCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:        "down",
		Usage:       "undo apply: everything is as it was before",
		ArgsUsage:   "[HOST]",
		Description: "Without HOST: on this machine, where neither repository nor tunnel file is needed.",
		Flags:       []cli.Flag{tunnelFlag, hostFlag, dryRunFlag, jsonFlag, timeoutFlag},
	}, doDown
}

// applyOrPlan works here, or has the wgkeys of another host do so.
func (e *env) applyOrPlan(planOnly bool) error {
	file, err := e.viewFile()
	if err != nil {
		return err
	}
	if file != "" {
		text, err := readText(file)
		if err != nil {
			return err
		}
		return e.applyHere(&wanted{text: text}, planOnly)
	}
	v, t, err := e.view()
	if err != nil {
		return err
	}
	if len(e.names()) == 0 || e.hosts.IsLocal(t, v.Host) {
		return e.applyHere(&wanted{view: v}, planOnly)
	}
	return e.hosts.Apply(e.ctx, t, v, e.applying(planOnly))
}

// viewFile is the file of the view that is to be applied, or "" where it is to be
// derived from the repository.
func (e *env) viewFile() (string, error) {
	file := e.cli.String("view")
	if !e.cli.Bool("kept") {
		return file, nil
	}
	if file != "" || len(e.names()) > 0 {
		return "", ui.Usage("cannot go together:", "--kept and another view", "it is the one that the last apply on this machine kept", "wgkeys apply --kept")
	}
	names := linux.KeptNames()
	if t := e.cli.String("tunnel"); t != "" {
		if err := tunnel.CheckName(t); err != nil {
			return "", ui.Usage("no tunnel can be named", t, err.Error(), "wgkeys apply --help")
		}
		names = []string{t}
	}
	switch len(names) {
	case 0:
		return "", fault.New("no view is kept in", linux.KeptDir, "no tunnel was applied on this machine", "wgkeys apply")
	case 1:
		return linux.KeptPath(names[0]), nil
	}
	return "", ui.Usage("which tunnel is meant by", "wgkeys apply --kept", "there are views of "+strings.Join(names, ", "), "wgkeys apply --kept -t "+names[0])
}

// A wanted is the view that is to be applied, or its text as it came.
type wanted struct {
	view    *tunnel.View
	text    []byte
	reading *tunnel.Reading // of the text, where the plan was made of it
}

// name is the tunnel's. Where the text tells it by itself, the rest is not parsed
// before the device is asked what it has, which takes as long.
func (w *wanted) name() (string, error) {
	if w.view == nil {
		if name, ok := tunnel.NameIn(w.text); ok {
			return name, nil
		}
	}
	if err := w.parse(); err != nil {
		return "", err
	}
	return w.view.Tunnel, nil
}

func (w *wanted) parse() (err error) {
	if w.view == nil {
		w.view, err = tunnel.ParseView(w.text)
	}
	return err
}

func readView(file string) (*tunnel.View, error) {
	text, err := readText(file)
	if err != nil {
		return nil, err
	}
	return tunnel.ParseView(text)
}

func readText(file string) ([]byte, error) {
	if file == "-" {
		return tunnel.ReadText(os.Stdin)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(fault.Errno(err), "cannot read the view", file, "wgkeys show --json HOST > "+file)
	}
	return text, nil
}

// session opens this host, for changes or for a look.
func (e *env) session(lookOnly bool) (*linux.Session, error) {
	if lookOnly {
		return linux.Look()
	}
	return linux.Begin(e.ctx, e.sayWaiting)
}

func (e *env) applyHere(w *wanted, planOnly bool) error {
	name, err := w.name()
	if err != nil {
		return err
	}
	s, err := e.session(planOnly)
	if err != nil {
		return err
	}
	defer s.Close()
	s.Old = e.admission()
	if err := e.settle(s, name, planOnly); err != nil {
		return err
	}
	plan, err := e.planHere(s, name, w)
	if err != nil && planOnly {
		e.tellRefusal(name, err)
	}
	if err != nil {
		return err
	}
	if done, err := e.showPlan(s, plan, planOnly); done {
		return err
	}
	if plan.View != nil && plan.View != w.view {
		w = &wanted{view: plan.View} // with the keys in use, in the middle of a rotation
	}
	if e.cli.Duration("confirm") > 0 && len(plan.Steps) > 0 {
		return e.applyGuarded(s, w.view, plan)
	}
	if err := s.Take(e.ctx, plan, apply.Run, testOnlyKernel); err != nil {
		return err
	}
	e.warnMissing(s, plan)
	if w.reading != nil {
		s.Remember(plan, w.reading) // else the next plan takes longer
	}
	if err := e.noteReplaced(w, plan); err != nil {
		return err
	}
	if err := e.keep(name, w); err != nil {
		return err
	}
	e.sayAstray(s, plan)
	e.sayDone(plan) // last: nobody may be there to hear it (SIGPIPE)
	return nil
}

// admission is what is done about a view that is older than this host.
func (e *env) admission() linux.Admission {
	switch {
	case e.cli.Bool("unknown"):
		return linux.AllowOld
	case e.cli.Bool("kept"): // better the rest of it than nothing at boot
		return linux.DropOld
	}
	return linux.RefuseOld
}

// noteReplaced remembers what an apply has replaced, and forgets what it has brought
// back because somebody said so.
func (e *env) noteReplaced(w *wanted, plan *apply.Plan) error {
	if e.cli.Bool("unknown") {
		if err := linux.AllowReplaced(w.view); err != nil {
			return err
		}
	}
	if w.view == nil || !linux.Replaces(plan) {
		return nil
	}
	return linux.NoteReplaced(w.view)
}

// warnMissing tells of what the tunnel lacks, and of what keeps it from following its
// peers' names: it is up nevertheless.
func (e *env) warnMissing(s *linux.Session, plan *apply.Plan) {
	for _, err := range plan.Missing {
		e.ui.Warn(err)
	}
	if err := s.Unfollowed(); err != nil {
		e.ui.Warn(err)
	}
}

// planHere plans, unless it is known that there is nothing to do.
func (e *env) planHere(s *linux.Session, name string, w *wanted) (*apply.Plan, error) {
	if err := s.Ask(name); err != nil {
		return nil, err
	}
	if w.view != nil {
		return s.Plan(e.ctx, w.view)
	}
	plan, reading, err := s.PlanText(e.ctx, name, w.text)
	if err != nil {
		return nil, err
	}
	if w.reading, w.view = reading, reading.View; plan.Known && e.ui.Verbose {
		e.ui.Say("%s: all is as it was when there was nothing to do", name)
	}
	return plan, nil
}

// settle deals with an earlier apply that waits to be confirmed; a plan only
// tells of it.
func (e *env) settle(s *linux.Session, name string, planOnly bool) error {
	if busy := participant.UnderWay(name); busy != nil {
		if !planOnly {
			return busy
		}
		e.ui.Say("note: %v", busy)
	}
	if !planOnly {
		return s.Settle(e.ctx, name)
	}
	p, err := apply.ReadPending(linux.RunDir, name)
	switch {
	case err != nil || p == nil:
		return err
	case p.Left() > 0:
		e.ui.Say("note: an apply waits to be confirmed, and is undone in %d s", int(p.Left().Seconds())+1)
	default:
		e.ui.Say("note: an apply was not confirmed in time, and nobody has undone it yet; wgkeys apply and wgkeys down do")
	}
	return nil
}

func (e *env) sayWaiting(pid int) {
	e.ui.Say("waiting for process %d, which is changing a tunnel on this host", pid)
}

// testOnlyKernel lets a test make a step fail, or kill the process at one.
var testOnlyKernel = func(k apply.Kernel) apply.Kernel { return k }

// showPlan reports done where that is all that is wanted.
func (e *env) showPlan(s *linux.Session, plan *apply.Plan, planOnly bool) (done bool, err error) {
	for _, err := range s.Damaged() {
		e.ui.Warn(err)
	}
	if e.cli.Bool("json") {
		err = e.ui.JSON(remote.PlanJSON(plan))
	} else {
		e.tellPlan(plan)
	}
	if err == nil && planOnly && len(plan.Steps) > 0 {
		err = ui.ExitWith(ui.ExitFindings, nil)
	}
	return err != nil || planOnly, err
}

func (e *env) tellPlan(plan *apply.Plan) {
	for _, note := range plan.Notes {
		e.ui.Say("note: %s", note)
	}
	for _, found := range plan.Findings {
		e.ui.Say("finding: %s", found)
	}
	shown := e.shown(plan)
	switch {
	case len(plan.Steps) == 0:
		e.ui.Say("%s: nothing to do", plan.Tunnel)
	case len(shown) == 0:
		e.ui.Say("%s: nothing to do but to note in the journal what other tunnels share; -v shows it", plan.Tunnel)
	}
	for _, s := range shown {
		if !e.ui.Quiet {
			e.ui.Printf("%s  # %s\n", s.Change, s.Why)
		}
	}
}

// shown are the steps that a person is told of: a step that only the journal
// knows is none, but with -v.
func (e *env) shown(plan *apply.Plan) []apply.Step {
	if e.ui.Verbose {
		return plan.Steps
	}
	return slices.DeleteFunc(slices.Clone(plan.Steps), func(s apply.Step) bool { return !apply.TouchesKernel(s.Change) })
}

// sayAstray asks the kernel, now that the steps are taken, where it sends what the
// tunnel is to have.
func (e *env) sayAstray(s *linux.Session, plan *apply.Plan) {
	if len(plan.Steps) == 0 || plan.View == nil {
		return
	}
	for _, found := range s.Astray(plan.View) {
		e.ui.Say("finding: %s", found)
	}
}

// sayDone tells what was planned from what was done.
func (e *env) sayDone(plan *apply.Plan) {
	if n := len(e.shown(plan)); n > 0 {
		e.ui.Say("%s: done, %s", plan.Tunnel, ui.Plural(n, "step"))
	}
}

func doDown(e *env) error { return e.onApplied(e.downHere, e.downThere) }

// onApplied works on a tunnel that was applied here, or has another host do so.
func (e *env) onApplied(here, there func(string) error) error {
	this, err := e.thisHost()
	if err != nil {
		return err
	}
	host, err := e.oneName(func() (string, error) { return this, nil })
	if err != nil {
		return err
	}
	if host != this {
		return there(host)
	}
	name, err := e.appliedTunnel()
	if err != nil || name == "" {
		return err
	}
	return here(name)
}

func (e *env) downHere(name string) error {
	dry := e.cli.Bool("dry-run")
	s, err := e.session(dry)
	if err != nil {
		return err
	}
	defer s.Close()
	plan, err := s.PlanDown(e.ctx, name)
	if err != nil {
		return err
	}
	if done, err := e.showPlan(s, plan, dry); done {
		return err
	}
	if err := participant.UnderWay(name); err != nil {
		return err
	}
	// What waits to be confirmed is decided with it.
	if err := apply.RemovePending(linux.RunDir, name); err != nil {
		return err
	}
	if err := s.Take(e.ctx, plan, apply.RunDown, testOnlyKernel); err != nil {
		return err
	}
	e.warnMissing(s, plan)
	e.sayDone(plan)
	return participant.Forget(name)
}

// appliedTunnel is the tunnel that is meant: the one named, or the only one
// that was applied here. It is "" where none was.
func (e *env) appliedTunnel() (string, error) {
	if t := e.cli.String("tunnel"); t != "" {
		if err := tunnel.CheckName(t); err != nil {
			return "", ui.Usage("no tunnel can be named", t, err.Error(), "wgkeys down --help")
		}
		return t, nil
	}
	files, err := os.ReadDir(linux.RunDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fault.Wrap(fault.Errno(err), "cannot read the folder", linux.RunDir, apply.AsRoot)
	}
	var names []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(filepath.Base(f.Name()), ".journal"); ok {
			names = append(names, name)
		}
	}
	switch len(names) {
	case 0:
		e.ui.Say("nothing to do: no tunnel of wgkeys is up on this machine")
		return "", nil
	case 1:
		return names[0], nil
	}
	return "", ui.Usage("which tunnel is meant by", "wgkeys "+e.cli.Command.Name, "those up are "+strings.Join(names, ", "),
		"wgkeys "+e.cli.Command.Name+" -t "+names[0])
}

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/apply"
	"wgkeys/deploy/host"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// applyKept accepts a view that this machine has had, even if it would be refused today.
func applyKept(e *env, path string, text []byte, o hereOptions) error {
	v, err := tunnel.ParseKept(text)
	if err != nil {
		return kept.Unreadable(strings.TrimSuffix(filepath.Base(path), ".view"), err)
	}
	if len(v.Weakening()) == 0 {
		return applyHere(e, host.Text(text), o)
	}
	e.ui.Warn(fault.New("the kept view weakens the whole host of tunnel", v.Tunnel, strings.Join(v.Weakening(), ", "),
		"take them out of the tunnel file, then "+words.Commands{Tunnel: v.Tunnel}.Run("apply", v.Host)+
			"; a place for them is the host's /etc/sysctl.d"))
	return applyHere(e, host.View(v), o)
}

// fileOfView is the file of the view to apply, or "" if it has to be derived from the
// repository.
func fileOfView(e *env, o hereOptions) (string, error) {
	if !o.kept {
		return o.view, nil
	}
	if o.view != "" || len(e.names()) > 0 {
		return "", ui.Usage("cannot go together:", "--kept and another view",
			"it is the one that the last apply on this machine kept", "wgkeys apply --kept")
	}
	names := kept.Names()
	if o.tunnel != "" {
		if err := checkTunnel(e, o.tunnel); err != nil {
			return "", err
		}
		names = []string{o.tunnel}
	}
	switch len(names) {
	case 0:
		return "", fault.NewFile("no view is kept in", kept.Dir, "no tunnel was applied on this machine", "wgkeys apply")
	case 1:
		return kept.Path(names[0]), nil
	}
	return "", ui.Usage("which tunnel is meant by", "wgkeys apply --kept", "there are views of "+strings.Join(names, ", "),
		"wgkeys apply --kept -t "+names[0])
}

// applyText applies a view that was passed in, unchanged.
func applyText(e *env, text []byte, o hereOptions) error {
	return applyHere(e, host.Text(text), o)
}

// applyView applies a view that was just derived.
func applyView(e *env, v *tunnel.View, o hereOptions) error {
	return applyHere(e, host.View(v), o)
}

// openHost opens this host, for changes or only for a plan.
func openHost(e *env, lookOnly bool, o host.Options) (*host.Host, error) {
	if lookOnly {
		return host.Look(o)
	}
	return host.Begin(e.ctx, o)
}

func applyHere(e *env, w *host.Wanted, o hereOptions) error {
	name, err := w.Tunnel()
	if err != nil {
		return err
	}
	var plan *apply.Plan
	tell := func(event host.Event) { tellEvent(e, event, plan) }
	h, err := openHost(e, o.planOnly, host.Options{Old: admission(o), Confirm: o.confirm, Token: o.token, Report: tell})
	if err != nil {
		return err
	}
	defer h.Close()
	plan, err = h.Plan(e.ctx, w)
	if err != nil && o.planOnly && o.json {
		tellRefusal(e, name, err)
	}
	if err != nil {
		return err
	}
	if plan.Known && e.ui.Verbose {
		e.ui.Say("%s: all is as it was when there was nothing to do", name)
	}
	if done, err := showPlan(e, h, plan, o.planOnly, o.json); done {
		return err
	}
	if o.view == "-" && abandoned() {
		return errAbandoned("tunnel", name, "wgkeys apply")
	}
	waits, err := h.Apply(e.ctx, plan)
	switch {
	case err != nil || !waits:
		return err
	case o.token != "":
		return ui.ExitWith(ui.ExitWaits, nil)
	}
	e.ui.Say("this is undone in %v, unless you run: wgkeys confirm -t %s", o.confirm, name)
	return nil
}

func errAbandoned(what, who, hint string) error {
	return fault.New("did not begin to change "+what, who, "the command that asked for it is gone", hint)
}

// abandoned reports whether nobody reads what this process says: a controller that gave this
// host up, because it was slow, may have had it do something else since. A user at the host
// who reads only the beginning, or whose terminal is gone, is none: ssh connects the input,
// too.
func abandoned() bool {
	for _, f := range []*os.File{os.Stdin, os.Stdout} {
		if info, err := f.Stat(); err != nil || info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) == 0 {
			return false
		}
	}
	out := []unix.PollFd{{Fd: int32(os.Stdout.Fd())}}
	n, err := unix.Poll(out, 0)
	return err == nil && n == 1 && out[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// admission decides what to do with a view that is older than this host's state.
func admission(o hereOptions) host.Admission {
	switch {
	case o.unknown:
		return host.AllowOld
	case o.kept: // better the rest of it than nothing at boot
		return host.DropOld
	}
	return host.RefuseOld
}

// tellEvent reports events on this host during the work; plan is set once it is made.
func tellEvent(e *env, event host.Event, plan *apply.Plan) {
	switch event := event.(type) {
	case host.Waiting:
		e.ui.Say("waiting for process %d, which is changing a tunnel on this host", event.PID)
	case host.Note:
		e.ui.Say("note: %s", event)
	case host.Finding:
		e.ui.Say("finding: %s", event)
	case host.Warning:
		e.ui.Warn(event.Err)
	case host.Done: // the last: the reader may be gone (SIGPIPE)
		sayDone(e, plan)
	}
}

// showPlan shows a plan, and returns done if nothing else is wanted.
func showPlan(e *env, h *host.Host, plan *apply.Plan, planOnly, json bool) (done bool, err error) {
	for _, err := range h.Damaged() {
		e.ui.Warn(err)
	}
	if json {
		err = e.ui.JSON(remote.PlanJSON(plan))
	} else {
		tellPlan(e, plan)
	}
	if err == nil && planOnly && len(plan.Steps) > 0 {
		err = ui.ExitWith(ui.ExitFindings, nil)
	}
	return err != nil || planOnly, err
}

func tellPlan(e *env, plan *apply.Plan) {
	for _, note := range plan.Notes {
		e.ui.Say("note: %s", note)
	}
	for _, found := range plan.Findings {
		e.ui.Say("finding: %s", found)
	}
	shown := shownSteps(e, plan)
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

// shownSteps are the steps that are shown: those that change only the journal are left out
// without -v.
func shownSteps(e *env, plan *apply.Plan) []apply.Step {
	if e.ui.Verbose {
		return plan.Steps
	}
	return slices.DeleteFunc(slices.Clone(plan.Steps), func(s apply.Step) bool { return !s.Change.TouchesKernel() })
}

// sayDone says that the plan was carried out.
func sayDone(e *env, plan *apply.Plan) {
	if n := len(shownSteps(e, plan)); n > 0 {
		e.ui.Say("%s: done, %s", plan.Tunnel, ui.Plural(n, "step"))
	}
}

// checkOwner refuses to work on a host that is another one than the caller takes it for.
func checkOwner(e *env, tunnels ...string) error {
	of, keys := takenFor(e)
	if of == "" {
		return nil
	}
	o := host.Owner{Host: of}
	for _, text := range keys {
		if k, err := keyring.ParsePublicKey([]byte(text)); err == nil {
			o.Keys = append(o.Keys, k)
		}
	}
	return o.Check(tunnels...)
}

func downHere(e *env, name string, dry, json bool) error {
	if err := checkOwner(e, name); err != nil {
		return err
	}
	if !dry && abandoned() {
		return errAbandoned("tunnel", name, "wgkeys down")
	}
	return takeDown(e, name, dry, json)
}

func takeDown(e *env, name string, dry, json bool) error {
	var plan *apply.Plan
	h, err := openHost(e, dry, host.Options{Report: func(event host.Event) { tellEvent(e, event, plan) }})
	if err != nil {
		return err
	}
	defer h.Close()
	plan, err = h.PlanDown(e.ctx, name)
	if err != nil {
		return err
	}
	if done, err := showPlan(e, h, plan, dry, json); done {
		return err
	}
	return h.Down(e.ctx, plan)
}

// appliedTunnel is the named tunnel, or the only one that was applied here. It is "" if
// none was.
func appliedTunnel(e *env, named string) (string, error) {
	names, err := host.Applied()
	if named != "" {
		if err := checkTunnel(e, named); err != nil {
			return "", err
		}
		if len(names) > 0 && !slices.Contains(names, named) {
			e.ui.Say("no tunnel %s was applied here, but: %s", named, strings.Join(names, ", "))
		}
		return named, nil
	}
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		names = host.Unrecorded()
	}
	switch len(names) {
	case 0:
		e.ui.Say("nothing to do: no tunnel of wgkeys is up on this machine")
		return "", nil
	case 1:
		return names[0], nil
	}
	return "", ui.Usage("which tunnel is meant by", "wgkeys "+e.cli.Command.Name,
		"those up are "+strings.Join(names, ", "),
		"wgkeys "+e.cli.Command.Name+" -t "+names[0])
}

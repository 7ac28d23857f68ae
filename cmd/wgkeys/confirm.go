package main

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/guard"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

func confirmCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:        "confirm",
		Usage:       "keep what apply did, before it is undone",
		ArgsUsage:   "[HOST]",
		Description: "Without HOST: on this machine. apply over ssh confirms by itself, over a new\nconnection: where that cannot be made the host undoes the apply.",
		Flags:       []cli.Flag{tunnelFlag, hostFlag, tokenFlag, timeoutFlag},
	}, doConfirm
}

// applyGuarded starts the guards before the first step: from then on whatever
// goes wrong, with this process too, the host goes back by itself.
func (e *env) applyGuarded(s *linux.Session, v *tunnel.View, plan *apply.Plan) error {
	before, err := e.before(s, v.Tunnel)
	if err != nil {
		return err
	}
	wait := e.cli.Duration("confirm")
	p := &apply.Pending{Token: e.cli.String("token"), Before: before, After: v, Deadline: apply.Uptime() + wait}
	if err := p.Write(linux.RunDir, v.Tunnel); err != nil {
		return err
	}
	err = guard.Start(e.ctx, v.Tunnel)
	if err == nil {
		p.Guarded = true
		err = p.Write(linux.RunDir, v.Tunnel)
	}
	if err == nil {
		err = s.Take(e.ctx, plan, apply.Run, testOnlyKernel)
	}
	if errors.Is(err, apply.ErrHalf) {
		return err // the guards try again when the time has come: who asked may be locked out
	}
	if err != nil {
		apply.RemovePending(linux.RunDir, v.Tunnel)
		return err
	}
	if e.cli.Bool("unknown") {
		if err := linux.AllowReplaced(v); err != nil {
			return err
		}
	}
	e.warnMissing(s, plan)
	p.Deadline, p.Done = apply.Uptime()+wait, true
	if err := p.Write(linux.RunDir, v.Tunnel); err != nil {
		return err
	}
	e.sayAstray(s, plan)
	e.sayDone(plan) // last: of who asked over ssh the connection may be gone (SIGPIPE)
	if p.Token != "" {
		return ui.ExitWith(ui.ExitWaits, nil)
	}
	e.ui.Say("this is undone in %v, unless you run: wgkeys confirm -t %s", wait, v.Tunnel)
	return nil
}

// before is what to go back to: the last view that was applied, with the
// endpoints of now, or nil where the tunnel is not up.
func (e *env) before(s *linux.Session, name string) (*tunnel.View, error) {
	up, err := linux.Up(name)
	if err != nil || !up {
		return nil, err
	}
	kept, err := linux.Kept(name)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return nil, fault.New("nothing to go back to for tunnel", name, "it is up, but "+linux.KeptPath(name)+" is not there",
			"wgkeys apply --confirm 0")
	}
	return s.Live(e.ctx, kept)
}

// keep makes a view what the host comes up with at boot: its text as it came, for
// to spell ten thousand peers takes longer than to compare them. The tunnel is up by
// now, and a folder that cannot be written is no reason to take it down.
func (e *env) keep(name string, w *wanted) error {
	text := w.text
	if text == nil {
		var b bytes.Buffer
		if err := tunnel.EncodeView(&b, w.view); err != nil {
			return err
		}
		text = b.Bytes()
	}
	path, err := linux.Keep(name, text)
	switch {
	case err == nil:
	case path == "":
		e.ui.Warn(fault.Wrap(err, "the tunnel is up, but will not come up at boot:", name, "df /etc /var /run, then wgkeys apply"))
	case filepath.Dir(path) == linux.RunDir:
		e.ui.Warn(fault.Wrap(err, "the tunnel is up, but will not come up at boot:", name, "mount -o remount,rw / (or /var), then wgkeys apply"))
	default:
		e.ui.Warn(fault.Wrap(err, "for the next boot the view is not in "+linux.KeptDir+" but in", path, ""))
	}
	return nil
}

func doConfirm(e *env) error { return e.onApplied(e.confirmHere, e.confirmThere) }

func (e *env) confirmHere(name string) error {
	unlock, err := apply.Lock(e.ctx, linux.RunDir, e.sayWaiting)
	if err != nil {
		return err
	}
	defer unlock()
	token := e.cli.String("token")
	p, err := apply.ReadPending(linux.RunDir, name)
	switch {
	case err != nil:
		return err
	case p == nil && token != "" && linux.Reverted(name, token):
		return fault.New("too late to confirm the apply on tunnel", name, "it was undone", "wgkeys apply")
	case p == nil && token != "" && !linux.Confirmed(name, token):
		return fault.New("cannot confirm the apply on tunnel", name, "it was not begun, or not finished", "wgkeys plan, then apply again")
	case p == nil:
		e.ui.Say("nothing waits to be confirmed on %s", name)
		return nil
	case token != "" && token != p.Token:
		return fault.New("another apply waits to be confirmed on tunnel", name, "it is not the one of this command", "wgkeys confirm -t "+name)
	}
	if p.Damaged {
		return fault.New("cannot confirm the apply on tunnel", name, "the file of the pending apply is damaged, so it is undone", "wgkeys apply")
	}
	if !p.Done {
		return fault.New("cannot confirm the apply on tunnel", name,
			fmt.Sprintf("it did not get to its end, and is undone in %d s", max(0, int(p.Left().Seconds())+1)),
			"wgkeys plan, when it is undone, and apply again")
	}
	if err := linux.NoteReplaced(p.After); err != nil {
		return err
	}
	if err := e.keep(name, &wanted{view: p.After}); err != nil {
		return err
	}
	return linux.Confirm(name, p)
}

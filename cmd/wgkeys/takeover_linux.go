package main

import (
	"path/filepath"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/apply"
	"wgkeys/deploy/host"
	"wgkeys/deploy/host/boot"
	"wgkeys/deploy/host/former"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

func takeOverHere(e *env, v *tunnel.View, dry bool) error {
	var plan *apply.Plan
	h, err := openHost(e, dry, host.Options{Report: func(event host.Event) { tellEvent(e, event, plan) }})
	if err != nil {
		return err
	}
	defer h.Close()
	t, err := h.PlanTakeOver(e.ctx, host.View(v))
	if err != nil {
		return err
	}
	switch {
	case t.From == nil:
		e.ui.Say("%s: no program was found that brought the tunnel up; whatever did is to be kept from doing it again",
			v.Tunnel)
	case dry:
		e.ui.Say("%s: would be taken over from %s", v.Tunnel, t.From)
	}
	plan = t.Plan
	if done, err := showPlan(e, h, plan, dry, false); done {
		return err
	}
	if err := h.TakeOver(e.ctx, t); err != nil {
		return err
	}
	if t.From != nil {
		where := "its files are in " + former.Dir(v.Tunnel)
		if len(t.From.Files) == 0 {
			where = "netplan's file is where you put it, and has to be back before the next boot if you go back"
		}
		e.ui.Say("%s: taken over from %s; %s; the way back: wgkeys import --undo -t %s", v.Tunnel, t.From, where, v.Tunnel)
	}
	return bootTakenOver(e, v)
}

// bootTakenOver sets up the next boot, since the other program no longer does it.
func bootTakenOver(e *env, v *tunnel.View) error {
	if v.NoBoot {
		return nil
	}
	if err := bootByItself(e, v); err != nil {
		return fault.Wrap(err, "the tunnel is wgkeys' own now, and will not come up at boot:", v.Tunnel,
			"wgkeys install -t "+v.Tunnel)
	}
	return nil
}

func bootByItself(e *env, v *tunnel.View) error {
	s := boot.Find()
	if s != boot.None {
		if err := installProgram(e, installOptions{}); err != nil {
			return err
		}
	}
	return bootBy(e, s, []*tunnel.View{v}, false)
}

// giveBackTaken gives back the named tunnel, or the only one that was taken over here.
func giveBackTaken(e *env, named string, dry bool) error {
	taken := former.Taken()
	if named != "" {
		if err := checkTunnel(e, named); err != nil {
			return err
		}
		taken = []string{named}
	}
	switch len(taken) {
	case 0:
		return fault.NewFile("nothing to give back in", filepath.Dir(former.Dir("x")),
			"no tunnel was taken over on this machine", "wgkeys down")
	case 1:
		return giveBackHere(e, taken[0], dry)
	}
	return ui.Usage("which tunnel is meant by", "wgkeys import --undo", "there are "+strings.Join(taken, ", "),
		"wgkeys import --undo -t "+taken[0])
}

func giveBackHere(e *env, name string, dry bool) error {
	if err := checkOwner(e, name); err != nil {
		return err
	}
	r, err := giveBack(e, name, dry)
	if r == nil || err != nil {
		return err
	}
	// Without the host's lock, for which the interface's unit waits when it stops.
	if err := notAtBoot(e, name); err != nil {
		return err
	}
	whom := r.Manager
	if whom == "" {
		whom = "whoever made it"
	}
	e.ui.Say("%s: given back to %s", name, whom)
	if former.Runs(r.Manager) && !former.Resumes(r.Manager) {
		e.ui.Say("%s: %s takes the interface at its next start; until then it stays up as it is", name, whom)
	}
	return nil
}

// giveBack does it, or shows what would be done: then the record is nil.
func giveBack(e *env, name string, dry bool) (*former.Record, error) {
	var plan *apply.Plan
	h, err := openHost(e, dry, host.Options{Report: func(event host.Event) { tellEvent(e, event, plan) }})
	if err != nil {
		return nil, err
	}
	defer h.Close()
	r, plan, err := h.PlanGiveBack(e.ctx, name)
	if err != nil {
		return nil, err
	}
	if done, err := showPlan(e, h, plan, dry, false); done {
		return nil, err
	}
	_, err = h.GiveBack(e.ctx, r)
	return r, err
}

// notAtBoot makes systemd not bring the tunnel up any more.
func notAtBoot(e *env, name string) error {
	for _, c := range boot.Release(name) {
		if c.Done(e.ctx) {
			continue
		}
		if err := c.Run(e.ctx); err != nil {
			return fault.Wrap(err, "the tunnel was given back, and wgkeys would still bring it up at boot:", name,
				"sudo "+c.String())
		}
	}
	return nil
}

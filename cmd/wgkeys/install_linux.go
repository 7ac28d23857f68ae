package main

import (
	"slices"
	"strings"

	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/host/boot"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// installHere does the part of install that is done on the host itself.
func installHere(e *env, o installOptions) error {
	views, err := keptViews(e, o)
	if err != nil {
		return err
	}
	s := boot.Find()
	if o.ifupdown {
		s = boot.Ifupdown
	}
	if !o.placed {
		if err := installProgram(e, o); err != nil {
			return err
		}
	}
	for _, name := range device.Outdated(boot.Program()) {
		e.ui.Say("%s: its device in user space still runs the previous program; to change that: "+
			"wgkeys down -t %[1]s, then wgkeys apply -t %[1]s", name)
	}
	return bootBy(e, s, views, o.dryRun)
}

// bootBy makes s bring the tunnels up, and shows each step; a dry run shows all of them.
func bootBy(e *env, s boot.System, views []*tunnel.View, dry bool) error {
	if s == boot.None {
		e.ui.Say("neither systemd nor OpenRC nor ifupdown starts this machine: have your init system run %s", keptAll(views))
	}
	changed, err := s.SetUp(e.ctx, boot.Setup{Views: views, DryRun: dry, Step: steps(e)})
	if err == nil {
		tellBoot(e, s, views, changed)
	}
	return err
}

// steps prints the command line of each step on this machine.
func steps(e *env) func(line string) {
	return func(line string) { e.ui.Printf("%s\n", line) }
}

// keptAll brings up all tunnels at boot.
func keptAll(views []*tunnel.View) string {
	names := []string{"TUNNEL"}
	if len(views) > 0 {
		names = nil
	}
	for _, v := range views {
		names = append(names, v.Tunnel)
	}
	one := boot.Program() + " apply --kept -t "
	return one + strings.Join(names, "; "+one)
}

func tellBoot(e *env, s boot.System, views []*tunnel.View, changed bool) {
	switch {
	case s == boot.None:
	case len(views) == 0:
		e.ui.Say("no tunnel was applied yet: after the first apply, wgkeys install has %s bring it up at boot", s)
	case !changed:
		e.ui.Say("nothing to do: %s brings up at boot %s", s, tunnelsOf(views))
	}
}

func tunnelsOf(views []*tunnel.View) string {
	names := ""
	for i, v := range views {
		if i > 0 {
			names += ", "
		}
		names += v.Tunnel
	}
	return names
}

// keptViews are those of the named tunnel, or of all that were applied here: at least one,
// unless the host has just got the program.
func keptViews(e *env, o installOptions) ([]*tunnel.View, error) {
	names := kept.Names()
	if o.tunnel != "" {
		if err := checkTunnel(e, o.tunnel); err != nil {
			return nil, err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return name != o.tunnel })
	}
	if len(names) == 0 && !o.placed {
		return nil, fault.NewFile("nothing to bring up at boot in", kept.Dir, "no tunnel was applied on this machine",
			"wgkeys apply")
	}
	var views []*tunnel.View
	for _, name := range names {
		v, err := kept.View(name)
		if err != nil {
			return nil, err
		}
		if v == nil { // a down in the meantime
			continue
		}
		views = append(views, v)
	}
	return views, nil
}

// installProgram puts this program where the init system runs it, unless it is the one that is
// there. A package's program is left to the package manager.
func installProgram(e *env, o installOptions) error {
	self, placed, err := boot.Self()
	if err != nil || placed {
		return err
	}
	if boot.Packaged() {
		e.ui.Say("%s, which a package has brought, stays as it is; another one is installed by its package manager",
			boot.Program())
		return nil
	}
	r := boot.Replacement{Version: version(), Others: o.others, Downgrade: o.downgrade}
	if err := r.Check(e.ctx, self); err != nil {
		return err
	}
	e.ui.Printf("install -m 0755 %s %s\n", self, boot.Program())
	if o.dryRun {
		return nil
	}
	return boot.Place(self)
}

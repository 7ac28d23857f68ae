package main

import (
	"slices"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/host"
	"wgkeys/deploy/host/boot"
	"wgkeys/deploy/host/former"
	"wgkeys/deploy/host/kept"
	"wgkeys/keyring/fault"
)

func uninstallHere(e *env, o uninstallOptions) error {
	if taken := former.Taken(); len(taken) > 0 {
		return fault.New("not removed while a tunnel is taken over from another program:", strings.Join(taken, ", "),
			"its files are below "+kept.Dir, "give it back first: wgkeys import --undo -t "+taken[0])
	}
	found, err := host.FindRemoval(o.keyFiles)
	if err != nil {
		return err
	}
	if err := checkOwner(e, found.Tunnels...); err != nil {
		return err
	}
	r := &removal{e, o, found}
	if r.Empty() && len(r.program()) == 0 {
		if boot.Packaged() {
			sayPackaged(e)
		} else {
			e.ui.Say("nothing to do: there is nothing of wgkeys on this machine")
		}
		return nil
	}
	if o.dryRun {
		return r.show()
	}
	if err := e.confirmed(r.question()); err != nil {
		return err
	}
	return r.run()
}

// A removal removes wgkeys from this machine.
type removal struct {
	env *env
	o   uninstallOptions
	host.Removal
}

func (r *removal) question() string {
	q := "remove wgkeys from this machine"
	if len(r.Applied) > 0 {
		q += ", and its tunnels down: " + strings.Join(r.Applied, ", ")
	}
	if keys := r.keysToRemove(); len(keys) > 0 {
		q += ", and remove the keys " + strings.Join(keys, ", ")
	}
	return q + "?"
}

func (r *removal) keysToRemove() []string {
	if r.o.keys {
		return r.Keys
	}
	return nil
}

// show shows what would be done.
func (r *removal) show() error {
	for _, name := range r.Applied {
		r.env.ui.Printf("wgkeys down -t %s\n", name)
	}
	for _, c := range slices.Concat(boot.Disable(r.Tunnels), boot.Forget()) {
		if !c.Done(r.env.ctx) {
			r.env.ui.Printf("%s\n", c)
		}
	}
	for _, path := range slices.Concat(r.Files, r.keysToRemove(), r.Folders, r.program()) {
		r.env.ui.Printf("rm -r %s\n", path)
	}
	return ui.ExitWith(ui.ExitFindings, nil)
}

// run removes all of it, the program last: as long as that exists, the rest can be tried
// again.
func (r *removal) run() error {
	if abandoned() {
		return errAbandoned("this machine", "", "wgkeys uninstall")
	}
	for _, name := range r.Applied {
		if err := takeDown(r.env, name, false, false); err != nil {
			return err
		}
	}
	if err := r.runAll(boot.Disable(r.Tunnels)); err != nil {
		return err
	}
	if err := r.removeAll(r.Files); err != nil {
		return err
	}
	if len(r.Files) > 0 {
		if err := r.runAll(boot.Forget()); err != nil {
			return err
		}
	}
	if keys := r.keysToRemove(); len(keys) < len(r.Keys) {
		r.env.ui.Say("the key files stay: %s; --keys removes them too", strings.Join(r.Keys, ", "))
	}
	if err := r.removeAll(r.keysToRemove()); err != nil {
		return err
	}
	if len(r.keysToRemove()) > 0 {
		host.RemoveKeyFolder()
	}
	if err := r.removeAll(slices.Concat(r.Folders, r.program())); err != nil {
		return err
	}
	if boot.Packaged() {
		sayPackaged(r.env)
	}
	return nil
}

// program is this program's file, unless it belongs to a package.
func (r *removal) program() []string {
	if boot.Packaged() || !exists(boot.Program()) {
		return nil
	}
	return []string{boot.Program()}
}

func sayPackaged(e *env) {
	e.ui.Say("%s stays, which a package has brought: its package manager removes it (apt purge wgkeys)", boot.Program())
}

func (r *removal) runAll(commands []boot.Command) error {
	for _, c := range commands {
		if c.Done(r.env.ctx) {
			continue
		}
		r.env.ui.Printf("%s\n", c)
		if err := c.Run(r.env.ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *removal) removeAll(paths []string) error {
	for _, path := range paths {
		if !exists(path) {
			continue
		}
		r.env.ui.Printf("rm -r %s\n", path)
		if err := host.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

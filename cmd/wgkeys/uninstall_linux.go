package main

import (
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
	if found.Empty() {
		if boot.Packaged() {
			sayPackaged(e)
		} else {
			e.ui.Say("nothing to do: there is nothing of wgkeys on this machine")
		}
		return nil
	}
	if o.dryRun {
		for _, line := range found.Steps(e.ctx, o.keys) {
			e.ui.Printf("%s\n", line)
		}
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	if err := e.confirmed(questionHere(found, o.keys)); err != nil {
		return err
	}
	return removeHere(e, found, o.keys)
}

// questionHere is the question to the user about this machine.
func questionHere(found host.Removal, keys bool) string {
	q := "remove wgkeys from this machine"
	if len(found.Applied) > 0 {
		q += ", and its tunnels down: " + strings.Join(found.Applied, ", ")
	}
	if keys && len(found.Keys) > 0 {
		q += ", and remove the keys " + strings.Join(found.Keys, ", ")
	}
	return q + "?"
}

func removeHere(e *env, found host.Removal, keys bool) error {
	if abandoned() {
		return errAbandoned("this machine", "", "wgkeys uninstall")
	}
	err := found.Remove(e.ctx, host.RemoveOptions{
		Keys: keys,
		Down: func(tunnel string) error { return takeDown(e, tunnel, false, false) },
		Step: steps(e),
		Stay: func(keys []string) {
			e.ui.Say("the key files stay: %s; --keys removes them too", strings.Join(keys, ", "))
		},
	})
	if err == nil && boot.Packaged() {
		sayPackaged(e)
	}
	return err
}

func sayPackaged(e *env) {
	e.ui.Say("%s stays, which a package has brought: its package manager removes it (apt purge wgkeys)", boot.Program())
}

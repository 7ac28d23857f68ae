package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"wgkeys/cmd/internal/keys"
	"wgkeys/cmd/internal/many"
	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/install"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// workers are the hosts that a verb works on, which may be in different tunnels.
type workers struct {
	env     *env
	repo    *repo.Repo
	tunnels []*tunnel.Tunnel
	chosen  []string
	crewOptions
}

// newWorkers finds the hosts in a tunnel or, if that is "", in all. This machine is included only
// if it is named.
func newWorkers(e *env, tunnel string) (*workers, error) {
	if err := checkJobs(e); err != nil {
		return nil, err
	}
	r, err := e.repo()
	if err != nil {
		return nil, err
	}
	w := &workers{env: e, repo: r, crewOptions: crewOptionsOf(e)}
	if w.tunnels, err = r.SomeTunnels(tunnel); err != nil {
		return nil, err
	}
	hosts, err := hostsMeant(e, w.tunnels)
	if err != nil {
		return nil, err
	}
	for _, host := range hosts {
		named := slices.Contains(e.names(), host)
		tunnels, err := w.of(host)
		switch {
		case err != nil:
			return nil, err
		case !named && e.hosts.IsLocal(tunnels[0], host):
			e.ui.Say("left out %s, which is this machine: wgkeys %s %[1]s serves it", host, e.cli.Command.Name)
		default:
			w.chosen = append(w.chosen, host)
		}
	}
	return w, nil
}

// of returns the tunnels in which the host is managed. The first one says how to reach it.
func (w *workers) of(host string) (tunnels []*tunnel.Tunnel, err error) {
	var missing, unmanaged error
	for _, t := range w.tunnels {
		if _, err := t.KeyFiles(host); err != nil {
			missing = err
			continue
		}
		if err := requireManaged(w.env, t, host); err != nil {
			unmanaged = err
			continue
		}
		tunnels = append(tunnels, t)
	}
	switch {
	case len(tunnels) > 0:
		return tunnels, nil
	case unmanaged != nil:
		return nil, unmanaged
	}
	return nil, missing
}

// A work is what is done on a host of a tunnel.
type work func(ctx context.Context, hosts *remote.Hosts, t *tunnel.Tunnel, host string) error

// each does the work on all hosts.
func (w *workers) each(do work) error {
	on := func(ctx context.Context, hosts *remote.Hosts, host string) error {
		tunnels, err := w.of(host)
		if err != nil {
			return err
		}
		return do(ctx, hosts, tunnels[0], host)
	}
	if len(w.chosen) == 1 && !namesMany(w.env) {
		return on(w.env.ctx, w.env.hosts, w.chosen[0])
	}
	c := &crew{e: w.env, repo: w.repo, hosts: w.chosen, crewOptions: w.crewOptions,
		results: map[string]json.RawMessage{}}
	return c.run(on, many.Work{})
}

// An installer brings the program to hosts, and with --up also keys and tunnels.
type installer struct {
	*workers
	o        installOptions
	programs *install.Programs
	ids      *vault.Identities
}

func installThere(e *env, o installOptions, programs *install.Programs) error {
	w, err := newWorkers(e, o.tunnel)
	if err != nil {
		return err
	}
	programs.Note = func(text string) { e.ui.Say("%s", text) }
	i := &installer{workers: w, o: o, programs: programs, ids: e.identities()}
	defer e.warnLoose(i.ids)
	return w.each(i.one)
}

// one brings the program to a host, and reports it at the end if --json is set.
func (i *installer) one(ctx context.Context, hosts *remote.Hosts, t *tunnel.Tunnel, host string) error {
	if !i.o.json {
		return i.bring(ctx, hosts, t, host, nil)
	}
	var did installed
	err := i.bring(ctx, hosts, t, host, &did)
	if did.Program == nil {
		return err
	}
	to := json.NewEncoder(hosts.Stdout)
	to.SetIndent("", "  ")
	return errors.Join(err, to.Encode(did)) // err may be only the exit code of --dry-run
}

// bring brings the program to a host, which then prepares the next boot. It prints what was
// done or, if did is not nil, records it there.
func (i *installer) bring(ctx context.Context, hosts *remote.Hosts, t *tunnel.Tunnel, host string,
	did *installed) error {
	dry := i.o.dryRun
	sent, end := i.progress(host)
	r, err := hosts.Install(ctx, t, host, install.Options{Program: i.programs.For, DryRun: dry,
		Others: i.o.others, Downgrade: i.o.downgrade, Sent: sent})
	end()
	if err != nil {
		return err
	}
	if did != nil {
		did.Program = programOf(r)
	} else {
		fmt.Fprintln(hosts.Stdout, became(r, dry))
	}
	if r.First != "" {
		hosts.Say.Warn(fault.NewHost("another wgkeys comes first in the PATH of host", host, r.First,
			"on "+host+": rm "+r.First))
	}
	if dry && r.Action != install.Unchanged {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	if dry {
		return nil
	}
	if i.o.up {
		if err := i.up(ctx, hosts, host, did); err != nil {
			return err
		}
	}
	if did == nil {
		return hosts.Boot(ctx, t, host, i.bootFlags())
	}
	var steps bytes.Buffer
	err = hosts.With(&steps, hosts.Stderr, hosts.Say).Boot(ctx, t, host, i.bootFlags())
	did.Steps = linesOf(&steps)
	return err
}

// progress shows how much of the program was sent, if a single host is served.
func (i *installer) progress(host string) (sent func(done, all int), end func()) {
	if namesMany(i.env) {
		return nil, func() {}
	}
	return i.env.ui.Progress("bringing the program to " + host)
}

// became reports what was done with the program.
func became(r install.Result, dry bool) string {
	const place = install.Place + " "
	switch {
	case r.Packaged:
		return install.PackagePlace + " unchanged: a package's, upgraded by its package manager: " + r.Version
	case dry && r.Action != install.Unchanged:
		return place + "to be " + string(r.Action)
	case r.Action == install.Replaced && r.Was != r.Version:
		return fmt.Sprintf(place+"replaced: it was %s, and is %s", r.Was, r.Version)
	case r.Action == install.Unchanged:
		return place + string(r.Action)
	}
	return place + string(r.Action) + ": " + r.Version
}

// up installs the key files of a host and applies its tunnels.
func (i *installer) up(ctx context.Context, hosts *remote.Hosts, host string, did *installed) error {
	m := &keys.Maker{Repo: i.repo, Hosts: hosts, IDs: i.ids, Report: hosts.Say, Step: testOnlyStep}
	one := []string{host}
	outcomes, err := m.Push(ctx, keys.PushOptions{Hosts: one, Named: one, Only: i.o.tunnel, Unknown: i.o.apply.Unknown,
		Jobs:  1,
		Count: func(int) {}, Begun: func(string) {}, Done: func(keys.Pushed) {}})
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		for _, f := range o.Results {
			if did != nil {
				did.Files = append(did.Files, installedFile{f.Path, string(f.Action)})
			} else {
				fmt.Fprintf(hosts.Stdout, "%s %s\n", f.Path, f.Action)
			}
		}
		if o.Err != nil {
			return o.Err
		}
	}
	tunnels, err := i.of(host)
	if err != nil {
		return err
	}
	for _, t := range tunnels {
		v, err := i.repo.View(t, host)
		if err == nil {
			err = i.apply(ctx, hosts, t, v, did)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (i *installer) apply(ctx context.Context, hosts *remote.Hosts, t *tunnel.Tunnel, v *tunnel.View,
	did *installed) error {
	if did == nil {
		return hosts.Apply(ctx, t, v, i.o.apply)
	}
	var plan bytes.Buffer
	err := hosts.With(&plan, hosts.Stderr, hosts.Say).Apply(ctx, t, v, i.o.apply)
	if json.Valid(plan.Bytes()) {
		did.Applied = append(did.Applied, plan.Bytes())
	}
	return err
}

// bootFlags are the flags for the program on a host, about the next boot.
func (i *installer) bootFlags() (flags []string) {
	if i.o.ifupdown {
		flags = append(flags, "--ifupdown")
	}
	if i.o.tunnel != "" {
		flags = append(flags, "-t", i.o.tunnel)
	}
	return flags
}

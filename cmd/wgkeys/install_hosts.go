package main

import (
	"bytes"
	"context"
	"errors"
	"io"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/install"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// An installer brings the program to hosts of the repository.
type installer struct {
	*env
	tunnels  []*tunnel.Tunnel
	programs *install.Programs
}

func installThere(e *env) error {
	r, err := e.repo()
	if err != nil {
		return err
	}
	i := &installer{env: e}
	if i.tunnels, err = r.SomeTunnels(e.cli.String("tunnel")); err != nil {
		return err
	}
	i.programs = &install.Programs{Folder: e.cli.String("programs"), Source: e.cli.String("source"),
		Note: func(text string) { e.ui.Say("%s", text) }}
	for _, host := range e.names() {
		if _, err := i.tunnelOf(host); err != nil {
			return err
		}
	}
	var errs []error
	todo := false
	for _, host := range e.names() {
		action, err := i.host(host)
		if err != nil {
			errs = append(errs, err)
		}
		todo = todo || action != install.Unchanged
	}
	if e.cli.Bool("dry-run") && len(errs) == 0 && todo {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return failures(len(errs), len(e.names()), errors.Join(errs...))
}

// tunnelOf is the first tunnel that has the host, and says how it is reached.
func (i *installer) tunnelOf(host string) (*tunnel.Tunnel, error) {
	var missing error
	for _, t := range i.tunnels {
		_, err := t.KeyFiles(host)
		if err == nil {
			return t, requireManaged(t, host)
		}
		missing = err
	}
	return nil, missing
}

// host brings the program to one host, and has it see to the next boot there.
func (i *installer) host(host string) (install.Action, error) {
	t, err := i.tunnelOf(host)
	if err != nil {
		return "", err
	}
	if i.hosts.IsLocal(t, host) {
		return install.Unchanged, installHere(i.env)
	}
	dry := i.cli.Bool("dry-run")
	sent, end := i.ui.Progress("bringing the program to " + host)
	result, err := i.hosts.Install(i.ctx, t, host, install.Options{Program: i.programs.For, DryRun: dry, Sent: sent})
	end()
	if err != nil {
		return "", err
	}
	i.tell(host, result)
	if dry {
		return result.Action, nil
	}
	return result.Action, i.boot(i.ctx, t, host)
}

func (i *installer) tell(host string, r install.Result) {
	action := string(r.Action)
	if i.cli.Bool("dry-run") && r.Action != install.Unchanged {
		action = "to be " + action
	}
	switch {
	case r.Action == install.Replaced && r.Was != r.Version && r.Version != "":
		action += ": it was " + r.Was + ", and is " + r.Version
	case r.Action == install.Installed && r.Version != "":
		action += ": " + r.Version
	}
	i.ui.Printf("%s %s %s\n", host, install.Place, action)
	if r.First != "" {
		i.ui.Warn(fault.NewHost("another wgkeys comes first in the PATH of host", host, r.First, "on "+host+": rm "+r.First))
	}
}

// boot has the tunnels come up at boot.
func (i *installer) boot(ctx context.Context, t *tunnel.Tunnel, host string) error {
	var flags []string
	if i.cli.Bool("ifupdown") {
		flags = append(flags, "--ifupdown")
	}
	if name := i.cli.String("tunnel"); name != "" {
		flags = append(flags, "-t", name)
	}
	return i.hosts.Boot(ctx, t, host, flags, &prefixed{w: i.ui.Stdout, prefix: host + " "})
}

// A prefixed writer puts a prefix before each line.
type prefixed struct {
	w      io.Writer
	prefix string
	within bool // of a line
}

func (p *prefixed) Write(b []byte) (int, error) {
	var out bytes.Buffer
	for line := range bytes.Lines(b) {
		if !p.within {
			out.WriteString(p.prefix)
		}
		out.Write(line)
		p.within = line[len(line)-1] != '\n'
	}
	if _, err := p.w.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(b), nil
}

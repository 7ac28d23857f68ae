package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/keys"
	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/words"
	"wgkeys/vault"
)

// An env is what every verb works with.
type env struct {
	ctx context.Context
	ui  *ui.UI
	cli *cli.Context

	hosts *remote.Hosts
}

// names returns what was given after the flags.
func (e *env) names() []string { return e.cli.Args().Slice() }

// oneName returns the only name, or fallback if there is none.
func (e *env) oneName(fallback func() (string, error)) (string, error) {
	switch n := e.names(); len(n) {
	case 0:
		return fallback()
	case 1:
		return n[0], nil
	default:
		return "", ui.Usage("too many names for", "wgkeys "+e.cli.Command.Name, "it takes one at a time",
			"wgkeys "+e.cli.Command.Name+" "+n[0])
	}
}

// repo is the repository of the command: that of the working folder, or of -C.
func (e *env) repo() (*repo.Repo, error) {
	r, err := repo.Find(e.cli.String("C"))
	if err == nil {
		r.Vault.Asker = e.ui
	}
	return r, err
}

// writing finds the repository for a verb that writes to it, and keeps all other such verbs
// out of this checkout until the process ends.
func (e *env) writing() (*repo.Repo, error) {
	r, err := e.repo()
	if err != nil {
		return nil, err
	}
	return r, r.Lock(e.ctx, e.cli.Bool("commit"))
}

// writingOrDryRun is for a verb that only reads with --dry-run.
func (e *env) writingOrDryRun() (*repo.Repo, error) {
	if e.cli.Bool("dry-run") {
		return e.repo()
	}
	return e.writing()
}

// tunnel is the one that the command is about: that of -t, or the only one.
func (e *env) tunnel(r *repo.Repo) (*tunnel.Tunnel, error) {
	t, err := r.Tunnel(e.cli.String("tunnel"))
	if several, ok := errors.AsType[*repo.SeveralTunnelsError](err); ok {
		name := tunnelWith(r, several.Names, e.names())
		line := slices.Concat([]string{"wgkeys", e.cli.Command.Name, "-t", name}, flagsOf(e))
		if e.cli.Bool("all") { // without a repository some verbs are about this machine
			line = append(line, "--all")
		}
		for _, name := range e.names() {
			line = append(line, words.ForShell(name))
		}
		return nil, ui.Usage("the repository has several tunnels:", strings.Join(several.Names, ", "), "say which with -t",
			strings.Join(line, " "))
	}
	return t, err
}

// checkTunnel refuses a name that no tunnel can have.
func checkTunnel(e *env, name string) error {
	verb := "wgkeys " + e.cli.Command.Name
	if err := tunnel.CheckName(name); err != nil {
		return ui.Usage("no tunnel can be named", name, err.Error(), verb+" --help")
	}
	return nil
}

// tunnelWith is the first tunnel with all the hosts that are named or, if none has them,
// the first of all.
func tunnelWith(r *repo.Repo, tunnels, named []string) string {
	for _, name := range tunnels {
		t, err := r.Tunnel(name)
		if err != nil {
			continue
		}
		hosts, err := tunnel.Select([]*tunnel.Tunnel{t}, named)
		lacks := func(host string) bool { return !slices.Contains(t.Hosts(), host) }
		if err == nil && !slices.ContainsFunc(hosts, lacks) {
			return name
		}
	}
	return tunnels[0]
}

// thisHost is the name of this machine: --host, or its short name.
func (e *env) thisHost() (string, error) {
	if h := e.cli.String("host"); h != "" {
		return h, nil
	}
	return remote.ShortName()
}

func newEnv(ctx context.Context, u *ui.UI, c *cli.Context) *env {
	e := &env{ctx: ctx, ui: u, cli: c}
	if here, err := os.Getwd(); err == nil && ui.Elsewhere(here, c.String("C")) {
		u.Folder = ui.Quoted(c.String("C"))
	}
	if short, _ := remote.ShortName(); c.Command.Name != "import" && c.String("host") != short {
		u.Self = c.String("host")
	}
	e.hosts = &remote.Hosts{Self: c.String("host"), Limit: timeoutOf(e), Terminal: terminalOf(ctx, u),
		Say: u, Stdout: ui.Results(u), Stderr: ui.Relay(u), Quiet: u.Quiet, JSON: c.Bool("json"), Version: version(),
		Step: testOnlyStep}
	return e
}

// terminalOf is where ssh asks the user, and says that a hardware key is to be touched.
func terminalOf(ctx context.Context, u *ui.UI) *ssh.Terminal {
	self, _ := os.Executable()
	say := func(line string) { ui.Aside(u, line) }
	return ssh.NewTerminal(ssh.UserInterface{Yield: u.Yield, Print: say, Askpass: self, Ended: ctx.Done()})
}

// maker makes keys.
func (e *env) maker(r *repo.Repo, ids *vault.Identities) *keys.Maker {
	return &keys.Maker{Repo: r, Hosts: e.hosts, IDs: ids, Report: e.ui, Step: testOnlyStep}
}

// confirmed asks the user, unless -y or --dry-run has answered.
func (e *env) confirmed(question string) error {
	if e.cli.Bool("yes") || e.cli.Bool("dry-run") {
		return nil
	}
	yes, err := e.ui.Confirm(question)
	if err == nil && !yes {
		err = ui.ExitWith(ui.ExitFailed, nil)
	}
	return err
}

// timeoutOf is how long a host may be silent.
func timeoutOf(e *env) time.Duration {
	if d := e.cli.Duration("timeout"); d > 0 {
		return d
	}
	return defaultTimeout
}

// failures sets the exit code for errors of some of several hosts.
func failures(failed, all int, err error) error {
	switch {
	case failed == 0:
		return err
	case failed < all:
		return ui.ExitWith(ui.ExitSome, err)
	}
	return ui.ExitWith(ui.ExitFailed, err)
}

// testOnlyStep wraps each step of a rotation's controller; tests use it to make one fail.
var testOnlyStep = func(_ string, do func() error) error { return do() }

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// asRoot runs the wgkeys of the host, with sudo where the user is not root. It
// has no quotes, newlines or exclamation marks inside, so that every login
// shell takes it alike. The arguments are verbs and flags of ours.
const asRoot = `exec sh -c 'PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin; command -v wgkeys >/dev/null || exit 127; [ "$(id -u)" = 0 ] && exec wgkeys "$@"; exec sudo -n "$(command -v wgkeys)" "$@"' sh`

// defaultConfirm is how long an apply over ssh waits for its confirmation.
const defaultConfirm = 30 * time.Second

// applyThere hands the view to the wgkeys of the host. The plain configuration
// travels, and no secret does. The host undoes the apply by itself unless it is
// confirmed over a new connection: nobody locks himself out.
func (e *env) applyThere(t *tunnel.Tunnel, v *tunnel.View, planOnly bool) error {
	var view bytes.Buffer
	if err := tunnel.EncodeView(&view, v); err != nil {
		return err
	}
	args := []string{"apply", "--view", "-"}
	if planOnly {
		args[0] = "plan"
	}
	if e.cli.Bool("unknown") {
		args = append(args, "--unknown")
	}
	if planOnly {
		return e.runThere(t, v.Host, args, &view)
	}
	wait := defaultConfirm
	if e.cli.IsSet("confirm") {
		wait = e.cli.Duration("confirm")
	}
	if wait <= 0 {
		return e.runThere(t, v.Host, args, &view)
	}
	token := rand.Text()
	heard := &listener{w: e.ui.Stdout}
	listening := *e.ui
	listening.Stdout = heard
	heeding := *e
	heeding.ui = &listening
	err := heeding.runThere(t, v.Host,
		append(args, "--confirm", wait.String(), "--token", token), &view)
	var exit *ui.ExitError
	waits := errors.As(err, &exit) && exit.Code == exitWaits
	lost := errors.Is(err, ssh.ErrUnreachable) && (heard.any || e.ui.Quiet)
	if !waits && !lost {
		return err
	}
	// The connection may have been lost to the very change: then a new one tells.
	ctx, cancel := context.WithTimeout(e.ctx, wait)
	defer cancel()
	confirming := *e
	confirming.ctx = ctx
	return confirming.confirmOver(t, v.Host, token, wait)
}

// A listener knows whether anything was ever heard: a host that was never
// reached has nothing to confirm.
type listener struct {
	w   io.Writer
	any bool
}

func (l *listener) Write(p []byte) (int, error) {
	l.any = l.any || len(p) > 0
	return l.w.Write(p)
}

// confirmOver confirms over a new connection.
func (e *env) confirmOver(t *tunnel.Tunnel, host, token string, wait time.Duration) error {
	args := []string{"confirm", "-t", t.Name}
	if token != "" {
		args = append(args, "--token", token)
	}
	err := e.runThere(t, host, args, strings.NewReader(""))
	if err != nil && wait > 0 && (errors.Is(err, ssh.ErrUnreachable) || e.ctx.Err() != nil) {
		return fault.Wrap(err, "could not confirm the apply on host", host,
			fmt.Sprintf("if it was begun there, the host goes back by itself within %v; then look: wgkeys plan %s", wait, host))
	}
	return err
}

// tunnelOf is the tunnel that the command is about, of which host must be one.
func (e *env) tunnelOf(host string) (*tunnel.Tunnel, error) {
	r, err := e.repo()
	if err != nil {
		return nil, err
	}
	t, err := e.tunnel(r)
	if err != nil {
		return nil, err
	}
	_, err = t.KeyFiles(host)
	return t, err
}

func (e *env) confirmThere(host string) error {
	t, err := e.tunnelOf(host)
	if err != nil {
		return err
	}
	return e.confirmOver(t, host, "", 0)
}

func (e *env) downThere(host string) error {
	t, err := e.tunnelOf(host)
	if err != nil {
		return err
	}
	args := []string{"down", "-t", t.Name}
	if e.cli.Bool("dry-run") {
		args = append(args, "-n")
	}
	return e.runThere(t, host, args, strings.NewReader(""))
}

// runThere runs wgkeys on the host. What it says is shown as it comes; its exit
// code is ours.
func (e *env) runThere(t *tunnel.Tunnel, host string, args []string, stdin io.Reader) error {
	for flag, set := range map[string]bool{"--json": e.cli.Bool("json"), "-q": e.ui.Quiet} {
		if set {
			args = append(args, flag)
		}
	}
	command := asRoot
	for _, a := range args {
		command += " " + ssh.Quote(a)
	}
	r := e.runner(t, host)
	if c, ok := r.(*ssh.Client); ok {
		c.Stderr = e.ui.Stderr
		// A connection of its own, which notices when the network is gone.
		c.Args = []string{"-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=3"}
	}
	out := &ui.Screen{W: e.ui.Stdout} // the host is not trusted with the terminal
	err := r.Run(e.ctx, command, stdin, out)
	out.Flush()
	var exit *ssh.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	switch exit.Code {
	case ui.ExitFindings, exitWaits:
		return ui.ExitWith(exit.Code, nil)
	case 127:
		return fault.New("cannot run wgkeys on host", host, "it is not installed there",
			install(t, host))
	}
	return fault.New("wgkeys "+args[0]+" failed on host", host, "it says why above", e.upgradeHint(t, host, err))
}

package main

import (
	"bytes"
	"errors"
	"strings"

	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// asRoot runs the wgkeys of the host, with sudo where the user is not root. It
// has no quotes, newlines or exclamation marks inside, so that every login
// shell takes it alike. The arguments are verbs and flags of ours.
const asRoot = `exec sh -c 'PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin; command -v wgkeys >/dev/null || exit 127; [ "$(id -u)" = 0 ] && exec wgkeys "$@"; exec sudo -n "$(command -v wgkeys)" "$@"' sh`

// applyThere hands the view to the wgkeys of the host. The plain configuration
// travels, and no secret does.
func (e *env) applyThere(t *tunnel.Tunnel, v *tunnel.View, planOnly bool) error {
	var view bytes.Buffer
	if err := tunnel.EncodeView(&view, v); err != nil {
		return err
	}
	args := []string{"apply", "--stdin"}
	if planOnly {
		args[0] = "plan"
	}
	return e.runThere(t, v.Host, args, &view)
}

func (e *env) downThere(host string) error {
	r, err := e.repo()
	if err != nil {
		return err
	}
	t, err := r.oneTunnel(e)
	if err != nil {
		return err
	}
	if _, err := t.KeyFiles(host); err != nil { // a host of the tunnel?
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
func (e *env) runThere(t *tunnel.Tunnel, host string, args []string, stdin interface{ Read([]byte) (int, error) }) error {
	for flag, set := range map[string]bool{"--json": e.cli.Bool("json"), "-q": e.ui.quiet} {
		if set {
			args = append(args, flag)
		}
	}
	command := asRoot
	for _, a := range args {
		command += " " + ssh.Quote(a)
	}
	r := runner(t, host)
	if c, ok := r.(*ssh.Client); ok {
		c.Stderr = e.ui.stderr
	}
	err := r.Run(e.ctx, command, stdin, e.ui.stdout)
	var exit *ssh.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	switch dest, _ := t.SSH(host); exit.Code {
	case exitFindings:
		return &exitError{code: exitFindings}
	case 127:
		return fault.New("cannot run wgkeys on host", host, "it is not installed there",
			"scp $(command -v wgkeys) "+dest+":/usr/local/bin/")
	}
	return fault.New("wgkeys "+args[0]+" failed on host", host, "it says why above", "")
}

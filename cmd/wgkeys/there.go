package main

import (
	"time"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/repo"
	"wgkeys/deploy/tunnel"
)

// tunnelOf is the tunnel of the command; host must be in it.
func tunnelOf(e *env, host string) (*tunnel.Tunnel, error) {
	r, err := e.repo()
	if err != nil {
		return nil, err
	}
	t, err := e.tunnel(r)
	if err != nil {
		return nil, err
	}
	if _, err = t.KeyFiles(host); err != nil {
		return nil, err
	}
	return t, requireManaged(e, t, host)
}

// requireManaged refuses to work on a host that nobody logs in to.
func requireManaged(e *env, t *tunnel.Tunnel, host string) error {
	if !t.Unmanaged(host) {
		return nil
	}
	r, err := e.repo()
	if err != nil {
		return err
	}
	return t.RequireManaged(host, repo.ByHand(r, t, host))
}

// confirmThere confirms what waits on another host.
func confirmThere(e *env, host string) error {
	t, err := tunnelOf(e, host)
	if err != nil {
		return err
	}
	return e.hosts.Confirm(e.ctx, t, host, "", 0)
}

// downThere makes another host undo its apply.
func downThere(e *env, host string) error {
	t, err := tunnelOf(e, host)
	if err != nil {
		return err
	}
	return e.hosts.Down(e.ctx, t, host, e.cli.Bool("dry-run"))
}

// tellRefusal reports to programs, such as status, what a plan refused.
func tellRefusal(e *env, name string, err error) {
	if text := remote.RefusedBy(err); text != "" && e.cli.Bool("json") {
		e.ui.JSON(remote.Planned{Tunnel: name, Steps: []remote.PlannedStep{}, Refused: text})
	}
}

// applyOptions are those for another host: by default it has to be confirmed within half a
// minute.
func applyOptions(e *env) remote.ApplyOptions {
	o := remote.ApplyOptions{Unknown: e.cli.Bool("unknown"), Confirm: defaultConfirm}
	if e.cli.IsSet("confirm") {
		o.Confirm = e.cli.Duration("confirm")
	}
	return o
}

// defaultConfirm is how long an apply over ssh waits for its confirmation.
const defaultConfirm = 30 * time.Second

package main

import (
	"time"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/repo"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// tunnelOf is the tunnel of the command, in which host must be, and the host's own public keys.
func tunnelOf(e *env, host string) (*tunnel.Tunnel, remote.Own, error) {
	r, err := e.repo()
	if err != nil {
		return nil, nil, err
	}
	t, err := e.tunnel(r)
	if err != nil {
		return nil, nil, err
	}
	if _, err = t.KeyFiles(host); err != nil {
		return nil, nil, err
	}
	return t, ownKeys(r, host, t), requireManaged(e, t, host)
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
	t, own, err := tunnelOf(e, host)
	if err != nil {
		return err
	}
	return e.hosts.ConfirmAny(e.ctx, t, host, own)
}

// downThere makes another host undo its apply.
func downThere(e *env, host string, dry bool) error {
	t, own, err := tunnelOf(e, host)
	if err != nil {
		return err
	}
	return e.hosts.Down(e.ctx, t, host, own, dry)
}

// ownKeys are the public keys of a host in some tunnels, as far as it has any.
func ownKeys(r *repo.Repo, host string, tunnels ...*tunnel.Tunnel) remote.Own {
	own := remote.Own{}
	for _, t := range tunnels {
		for _, name := range []string{t.Name, keyring.Next(t.Name)} {
			if k, err := r.Ring.Get(host, name); err == nil {
				own = append(own, k)
			}
		}
	}
	return own
}

// tellRefusal reports to programs, such as status, what a plan refused.
func tellRefusal(e *env, name string, err error) {
	if text := remote.RefusedBy(err); text != "" {
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

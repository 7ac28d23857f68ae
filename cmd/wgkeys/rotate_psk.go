package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"wgkeys/cmd/internal/check"
	"wgkeys/cmd/internal/repo"
	"wgkeys/deploy/push"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// A pskTurn is the replacement of the preshared key of two hosts.
type pskTurn struct {
	*env
	repo    *repo.Repo
	tunnel  *tunnel.Tunnel
	between [2]string
	ids     *vault.Identities
	past    *repo.KeyHistory
	pair    *rotate.Pair
	made    []string
}

// pskTurns are the preshared keys that go with the rotations of some hosts, and those
// that somebody who left could read, each pair once.
func pskTurns(r *repo.Repo, e *env, turns []*turnOf, left *check.Exposure) ([]*pskTurn, error) {
	tunnels, err := r.SomeTunnels(e.cli.String("tunnel"))
	if err != nil {
		return nil, err
	}
	past, ids := &repo.KeyHistory{Repo: r}, e.identities()
	var all []*pskTurn
	for _, t := range tunnels {
		for _, pair := range t.PSKPairs() {
			wanted := left != nil && left.HasPSK(pair, t.Name)
			for _, x := range turns {
				wanted = wanted || x.tunnel.Name == t.Name && slices.Contains(pair[:], x.host)
			}
			if !wanted || slices.ContainsFunc(pair[:], func(host string) bool { return slices.Contains(e.cli.StringSlice("skip"), host) }) {
				continue
			}
			x := &pskTurn{env: e, repo: r, tunnel: t, between: pair, ids: ids, past: past}
			if err := x.reach(); err != nil {
				return nil, err
			}
			all = append(all, x)
		}
	}
	return all, nil
}

// reach says how either end is reached, and where it has the key.
func (x *pskTurn) reach() error {
	x.pair = &rotate.Pair{Tunnel: x.tunnel.Name, Report: func(text string) { x.ui.Say("%s %s: %s", x.between[0], x.between[1], text) }}
	for i, host := range x.between {
		files, err := x.tunnel.KeyFiles(host)
		if err != nil {
			return err
		}
		if x.pair.Ends[i], err = x.hosts.Participant(x.tunnel, host); err != nil {
			return err
		}
		x.pair.Files[i] = files[x.file(i)]
	}
	return nil
}

func (x *pskTurn) file(i int) string { return x.tunnel.Name + "." + x.between[1-i] + ".psk" }

// take replaces the preshared key. The next one is in the folder of the first host before
// any host has it, and in the folder of the second when both use it: killed in between,
// the vault knows both, and the same command makes a third one. One that is in both
// folders already, and not in use, it brings to the hosts.
func (x *pskTurn) take() error {
	if x.cli.Bool("dry-run") {
		return nil
	}
	marks, err := x.pair.Marks(x.ctx)
	if err != nil {
		return fault.Wrap(err, "the preshared key was not replaced, of", x.pair.String(), "wgkeys rotate --psk "+x.between[0])
	}
	mine, other, differ := x.repo.PSK(x.tunnel.Name, x.between[0], x.between[1])
	for i := range marks {
		if err := x.knows(i, marks[i], mine, other); err != nil {
			return err
		}
	}
	var psk keyring.PresharedKey
	begun := differ == nil && mine.Err == nil && other.Err == nil && slices.ContainsFunc(marks[:], func(m string) bool { return m != "" && m != mine.PSK })
	if begun {
		x.ui.Say("%s, %s: the vault has their next preshared key already; this finishes an earlier rotation", x.between[0], x.between[1])
		psk, err = x.repo.Vault.OpenPSK(x.between[0], x.file(0), mine.PSK, x.ids)
	} else if psk, err = keyring.GeneratePresharedKey(); err == nil {
		err = x.seal(0, psk)
	}
	if err != nil {
		return err
	}
	if err := x.install(psk); err != nil {
		return err
	}
	if err := x.pair.Replace(x.ctx, psk.Fingerprint()); err != nil {
		return err
	}
	if !begun {
		if err := x.seal(1, psk); err != nil {
			return err
		}
	}
	line := fmt.Sprintf("%s %s preshared key with %s", x.between[0], x.tunnel.Name, x.between[1])
	x.made = append(x.made, line)
	if x.cli.Bool("json") {
		x.ui.Event(rotate.Event{Host: x.between[0], Tunnel: x.tunnel.Name, Phase: "finished", Text: "preshared key with " + x.between[1]})
	} else {
		x.ui.Printf("%s\n", line)
	}
	return nil
}

// knows refuses where an end has a preshared key that this clone does not know: it is
// behind.
func (x *pskTurn) knows(i int, has string, mine, other repo.PSKFile) error {
	if x.cli.Bool("unknown") || has == "" || has == mine.PSK || has == other.PSK {
		return nil
	}
	return x.past.NewerThere(x.ctx, x.between[i], x.tunnel.Name, x.between[1-i], mine.PSK, has, "rotate --psk")
}

// seal puts a preshared key into the folder of one host.
func (x *pskTurn) seal(i int, psk keyring.PresharedKey) error {
	host := x.between[i]
	if err := x.repo.Sweep(host); err != nil {
		return err
	}
	x.repo.Changes.Touch(x.repo.Vault.Path(host, x.file(i)))
	return testOnlyStep("seal the preshared key", func() error { return x.repo.Vault.ReplacePSK(host, x.file(i), psk, time.Now()) })
}

// install brings it to both ends, which go on with the one that they have.
func (x *pskTurn) install(psk keyring.PresharedKey) error {
	var errs []error
	for i, host := range x.between {
		file := push.File{Path: x.pair.Files[i], Want: psk.Fingerprint(), Secret: func() ([]byte, error) { return psk.File(), nil }}
		err := testOnlyStep("push the preshared key", func() error {
			_, err := push.Host(x.ctx, x.hosts.Runner(x.tunnel, host), host, []push.File{file}, false)
			return err
		})
		if err != nil {
			errs = append(errs, fault.Wrap(err, "the preshared key with "+x.between[1-i]+" was not replaced on host", host, "wgkeys rotate --psk "+host+" finishes it"))
		}
	}
	return errors.Join(errs...)
}

func (e *env) turnOfPSK(x *pskTurn) {
	text := "gets a new preshared key with " + x.between[1]
	if e.cli.Bool("json") {
		e.ui.Event(rotate.Event{Host: x.between[0], Tunnel: x.tunnel.Name, Phase: "plan", Text: text})
		return
	}
	e.ui.Say("%s %s: %s", x.between[0], x.tunnel.Name, text)
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

func genCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:      "gen",
		Usage:     "make key pairs for hosts that have none",
		ArgsUsage: "HOST...",
		Description: "The private key goes encrypted into vault/HOST/, the public one plain into\n" +
			"keyring/HOST/. Preshared keys that the tunnel file asks for are made too. A key\n" +
			"that exists is never overwritten.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "on-host", Usage: "each host makes its private key itself, and it never leaves the host"},
			&cli.BoolFlag{Name: "sealed", Usage: "only the host can read its keys: vault/HOST/recipients.txt becomes its only list"},
			tunnelFlag, identityFlag, hostFlag, commitFlag, timeoutFlag,
		},
	}, doGen
}

func doGen(e *env) error {
	hosts := e.names()
	if len(hosts) == 0 {
		return ui.Usage("no host named for", "wgkeys gen", "it makes the keys of the hosts that you name", "wgkeys gen HOST...")
	}
	r, err := e.writing()
	if err != nil {
		return err
	}
	name, t, err := genTunnel(r, e)
	if err != nil {
		return err
	}
	for _, host := range hosts {
		if err := keyring.CheckHost(host); err != nil {
			return ui.Usage("no host can be named", host, err.Error(), "wgkeys gen --help")
		}
	}
	if err := r.RequireCheckedOut(e.ctx, hosts...); err != nil {
		return err
	}
	ids := e.identities()
	defer e.warnLoose(ids)
	g := &generator{env: e, repo: r, tunnel: name, ids: ids, now: time.Now()}
	if e.cli.Bool("on-host") {
		if t == nil {
			return fault.New("cannot ask hosts for keys of tunnel", name, "only its file tells where they are", "write tunnels/"+name+".toml first")
		}
		g.file = t
	}
	err = g.keys(t, hosts)
	return r.Changes.Commit(e.ctx, e.ui, "gen", g.made, err)
}

// keys makes the keys of hosts, and the preshared keys of t, which may be nil.
func (g *generator) keys(t *tunnel.Tunnel, hosts []string) error {
	if err := g.repo.Vault.Lists().Agree(g.toSeal(t, hosts)); err != nil {
		return err
	}
	for _, host := range hosts {
		if g.cli.Bool("sealed") {
			if err := g.sealOff(host); err != nil {
				return err
			}
		}
		if t != nil && !slices.Contains(t.Hosts(), host) {
			g.ui.Warn(fault.New("not yet a host of tunnel", g.tunnel, "tunnels/"+g.tunnel+".toml does not name "+host,
				fmt.Sprintf("if this was a slip: rm keyring/%[1]s/%[2]s.pub vault/%[1]s/%[2]s.key.age", host, g.tunnel)))
		}
		if err := g.key(host); err != nil {
			return err
		}
	}
	if t == nil {
		return nil
	}
	return g.psks(t, hosts)
}

// toSeal are the hosts for which something is to be encrypted, as far as is known
// beforehand: of hosts that are to be sealed off the list is yet to change.
func (g *generator) toSeal(t *tunnel.Tunnel, hosts []string) (all []string) {
	for _, host := range hosts {
		_, err := g.repo.Vault.Meta(host, vault.KeyFile(g.tunnel))
		if g.file == nil && !g.cli.Bool("sealed") && errors.Is(err, fs.ErrNotExist) {
			all = append(all, host)
		}
	}
	if t == nil {
		return all
	}
	for _, pair := range g.pairs(t, hosts) {
		for _, h := range []repo.PSKFile{g.repo.PSKFile(g.tunnel, pair[0], pair[1]), g.repo.PSKFile(g.tunnel, pair[1], pair[0])} {
			if h.Missing() && !(g.cli.Bool("sealed") && slices.Contains(hosts, h.Host)) {
				all = append(all, h.Host)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// pairs are those of the hosts with their peers that share a preshared key.
func (g *generator) pairs(t *tunnel.Tunnel, hosts []string) [][2]string {
	return slices.DeleteFunc(t.PSKPairs(), func(p [2]string) bool { return !slices.Contains(hosts, p[0]) && !slices.Contains(hosts, p[1]) })
}

// sealOff has everything in the vault of a host be for its own recipients alone,
// from the first key on.
func (g *generator) sealOff(host string) error {
	if g.repo.Vault.Sealed(host) {
		return nil
	}
	if err := g.repo.Vault.KeepToHost(host); err != nil {
		return err
	}
	dir := filepath.Join(g.repo.Vault.Dir, host)
	g.repo.Changes.Touch(filepath.Join(dir, "recipients.txt"), filepath.Join(dir, "recipients.only.txt"))
	g.ui.Say("the keys of %s are for the recipients in vault/%[1]s/recipients.only.txt alone; push them on %[1]s itself: wgkeys push %[1]s --host %[1]s -i /etc/ssh/ssh_host_ed25519_key", host)
	return nil
}

// genTunnel is the tunnel that keys are made for: wg0 where there is none yet.
// Its file may be missing.
func genTunnel(r *repo.Repo, e *env) (string, *tunnel.Tunnel, error) {
	names, err := r.TunnelNames(e.cli.String("tunnel"))
	if err != nil {
		return "", nil, err
	}
	if len(names) == 0 {
		return "wg0", nil, nil
	}
	if err := tunnel.CheckName(names[0]); err != nil {
		return "", nil, ui.Usage("no tunnel can be named", names[0], err.Error(), "wgkeys gen --help")
	}
	t, err := e.tunnel(r)
	if errors.Is(err, fs.ErrNotExist) {
		e.ui.Warn(fault.New("no tunnel file yet for", names[0], "there is no tunnels/"+names[0]+".toml", ""))
		return names[0], nil, nil
	}
	return names[0], t, err
}

// A generator makes the keys of one tunnel.
type generator struct {
	*env
	repo   *repo.Repo
	tunnel string
	ids    *vault.Identities
	now    time.Time
	file   *tunnel.Tunnel // hosts make their keys themselves; nil: they do not
	made   []string       // what was made, for a person
}

// tell tells of a key that was made.
func (g *generator) tell(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	g.made = append(g.made, line)
	g.ui.Printf("%s\n", line)
}

// key makes a host's key pair. The vault file comes first: whatever happens
// then, its metadata holds the public key, and the next gen completes it.
func (g *generator) key(host string) error {
	if err := g.repo.Sweep(host); err != nil {
		return err
	}
	if c, err := g.repo.KeyState(host, g.tunnel); err != nil {
		return err
	} else if c.UnderWay() {
		g.ui.Say("%s is in the middle of a rotation in %s; nothing was changed: wgkeys rotate %[1]s finishes it", host, g.tunnel)
		return nil
	}
	file := vault.KeyFile(g.tunnel)
	public, err := g.repo.Ring.Get(host, g.tunnel)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	meta, sealed := g.repo.Vault.Meta(host, file)
	switch {
	case err == nil && (sealed == nil || errors.Is(sealed, vault.ErrNoMeta) || g.file != nil && errors.Is(sealed, fs.ErrNotExist)):
		g.ui.Say("%s has a key in %s already: %s; nothing was changed", host, g.tunnel, public)
		return nil
	case err == nil:
		return fault.Wrap(sealed, "no private key in the vault for", host,
			fmt.Sprintf("bring back %s from a backup or from git; if it is lost: rm %s, then wgkeys gen %s; if %[3]s made its key itself there is none to bring back",
				g.repo.Vault.Path(host, file), g.repo.Ring.Path(host, g.tunnel), host))
	case sealed == nil:
		public = meta.PublicKey
	case errors.Is(sealed, fs.ErrNotExist):
		if public, err = g.pair(host, file); err != nil {
			return err
		}
	default:
		return sealed
	}
	if err := g.repo.Ring.Put(host, g.tunnel, public); err != nil {
		return err
	}
	g.repo.Changes.Touch(g.repo.Vault.Path(host, file), g.repo.Ring.Path(host, g.tunnel))
	g.tell("%s %s %s", host, g.tunnel, public)
	return nil
}

// pair makes a new key pair, here or on the host.
func (g *generator) pair(host, file string) (public keyring.PublicKey, err error) {
	if g.file == nil {
		return g.seal(host, file)
	}
	return g.onHost(g.file, host, rotate.First)
}

// onHost has a host make a private key and tell the public half.
func (e *env) onHost(t *tunnel.Tunnel, host string, which rotate.Which) (public keyring.PublicKey, err error) {
	party, err := e.hosts.Participant(t, host)
	if err != nil {
		return public, err
	}
	return party.Make(e.ctx, t.Name, which)
}

func (g *generator) seal(host, file string) (keyring.PublicKey, error) {
	private, err := keyring.GeneratePrivateKey()
	if err != nil {
		return keyring.PublicKey{}, err
	}
	g.repo.Changes.Touch(g.repo.Vault.Path(host, file))
	return private.PublicKey(), g.repo.Vault.SealKey(host, file, private, g.now)
}

// psks makes the preshared keys that the tunnel file asks for between the
// hosts and their peers.
func (g *generator) psks(t *tunnel.Tunnel, hosts []string) error {
	pairs := g.pairs(t, hosts)
	// What is to be opened for its other half a hardware key is asked for at once.
	var open []vault.Name
	for _, pair := range pairs {
		mine, other, err := g.repo.PSK(g.tunnel, pair[0], pair[1])
		switch {
		case err != nil:
			return err
		case mine.Err == nil && other.Missing():
			open = append(open, vault.Name{Host: mine.Host, File: mine.File})
		case mine.Missing() && other.Err == nil:
			open = append(open, vault.Name{Host: other.Host, File: other.File})
		}
	}
	if err := g.repo.Vault.Prepare(g.ids, open); err != nil {
		return err
	}
	for _, pair := range pairs {
		if err := g.psk(pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}

// psk makes the preshared key of a pair, one half in each host's folder. Where
// one half is there the other is made from it.
func (g *generator) psk(a, b string) error {
	if err := cmp.Or(g.repo.Sweep(a), g.repo.Sweep(b)); err != nil {
		return err
	}
	mine, other, err := g.repo.PSK(g.tunnel, a, b)
	if err != nil {
		return err
	}
	var psk keyring.PresharedKey
	switch {
	case mine.Err == nil && other.Err == nil:
		return nil
	case mine.Missing() && other.Missing():
		psk, err = keyring.GeneratePresharedKey()
	case mine.Err == nil && other.Missing():
		psk, err = g.repo.Vault.OpenPSK(a, mine.File, mine.PSK, g.ids)
	case mine.Missing() && other.Err == nil:
		psk, err = g.repo.Vault.OpenPSK(b, other.File, other.PSK, g.ids)
	default:
		return errors.Join(mine.Err, other.Err)
	}
	if err != nil {
		return err
	}
	for _, h := range []repo.PSKFile{mine, other} {
		if !h.Missing() {
			continue
		}
		g.repo.Changes.Touch(h.Path)
		err := g.repo.Vault.SealPSK(h.Host, h.File, psk, g.now)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	g.tell("%s %s preshared key with %s", a, g.tunnel, b)
	return nil
}

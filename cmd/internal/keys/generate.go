package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
	"wgkeys/vault"
)

// GenerateOptions say how to make keys.
type GenerateOptions struct {
	OnHost bool              // each host makes its private key itself
	Sealed bool              // only the host can decrypt its keys
	Made   func(line string) // called for each key that was made
}

// Generate makes the keys of hosts in the tunnel called name, and the preshared keys that
// t, its file, asks for; t is nil if there is no file yet. It returns what was made, one
// line each, also if there is an error.
func (m *Maker) Generate(ctx context.Context, name string, t *tunnel.Tunnel, hosts []string,
	o GenerateOptions) (made []string, err error) {
	g := &generator{maker: m, o: o, name: name, tunnel: t}
	if o.OnHost {
		if t == nil {
			return nil, fault.New("cannot ask hosts for keys of tunnel", name, "only its file tells where they are",
				"write tunnels/"+name+".toml first")
		}
		for _, host := range hosts {
			if err := t.RequireManaged(host, t.Commands.Run("gen", host)+" makes a key to export"); err != nil {
				return nil, err
			}
		}
	}
	err = g.keys(ctx, hosts)
	return g.made, err
}

// keys makes the keys of hosts, and their preshared keys.
func (g *generator) keys(ctx context.Context, hosts []string) error {
	if err := g.renamed(ctx, hosts); err != nil {
		return err
	}
	if err := g.maker.Repo.Vault.Lists().Agree(g.toSeal(hosts)); err != nil {
		return err
	}
	for _, host := range hosts {
		if g.o.Sealed {
			if err := g.sealOff(host); err != nil {
				return err
			}
		}
		_, had := g.maker.Repo.Vault.Meta(host, vault.KeyFile(g.name))
		before := len(g.made)
		if err := g.key(ctx, host); err != nil {
			return err
		}
		if len(g.made) > before {
			g.warnPortable(host)
		}
		if g.tunnel != nil && !slices.Contains(g.tunnel.Hosts(), host) {
			g.warnUnnamed(host, len(g.made) > before && errors.Is(had, fs.ErrNotExist))
		}
	}
	return g.psks(hosts)
}

// renamed refuses to make other keys for hosts that have some under a former name: somebody
// seems to have renamed the tunnel's file, or a host in it. With other keys, the old ones
// could no longer get the new name.
func (g *generator) renamed(ctx context.Context, hosts []string) error {
	r := g.maker.Repo
	const what = "another key would be made beside"
	for _, host := range hosts {
		if old := repo.FormerTunnel(r, g.name, host); old != "" {
			have := slices.DeleteFunc(slices.Clone(hosts), func(host string) bool {
				return repo.FormerTunnel(r, g.name, host) != old
			})
			return fault.NewFile(what, r.Ring.Path(host, old), "there is no tunnels/"+old+".toml: "+g.name+
				" may be its new name", repo.Commands(r, g.name).Gen(have...))
		}
		if old := repo.FormerHost(ctx, r, g.name, host); old != "" {
			return fault.NewFile(what, r.Ring.Path(old, g.name), "no tunnel names "+old+" any more: "+host+
				" may be its new name", words.IfRenamed("", old, host)+repo.RemoveFormer(r, g.name, old)+
				repo.Commands(r, g.name).Run("gen", host))
		}
	}
	return nil
}

// warnPortable warns of names that no clone on Windows can have, while there is one key of them.
func (g *generator) warnPortable(host string) {
	if err := keyring.CheckPortable(host); err != nil {
		g.maker.Report.Warn(fault.NewHost("another name is needed for host", host, err.Error(), "wgkeys mv "+host+" NEW"))
	}
	if err := keyring.CheckPortable(g.name); err != nil {
		g.maker.Report.Warn(fault.New("another name is needed for tunnel", g.name, err.Error(),
			"wgkeys mv -t "+g.name+" NEW"))
	}
}

// warnUnnamed warns of a host that the tunnel file does not name. If its key was just made,
// the name may be a typing error, and the hint says how to remove the key.
func (g *generator) warnUnnamed(host string, made bool) {
	hint := "write [hosts." + host + "] into tunnels/" + g.name + ".toml"
	if made {
		r := g.maker.Repo
		hint += ", or if the name is wrong: rm " + repo.Existing(r.Ring.Path(host, g.name),
			r.Vault.Path(host, vault.KeyFile(g.name)))
	}
	g.maker.Report.Warn(fault.New("not yet a host of tunnel", g.name, "tunnels/"+g.name+".toml does not name "+host,
		hint))
}

// toSeal returns the hosts to whose recipients something will be encrypted, as far as that
// is known beforehand: the lists of hosts to be sealed will change.
func (g *generator) toSeal(hosts []string) (all []string) {
	for _, host := range hosts {
		_, err := g.maker.Repo.Vault.Meta(host, vault.KeyFile(g.name))
		if !g.o.OnHost && !g.o.Sealed && errors.Is(err, fs.ErrNotExist) {
			all = append(all, host)
		}
	}
	for _, pair := range g.pairs(hosts) {
		for _, h := range []repo.PSKFile{g.maker.Repo.PSKFile(g.name, pair[0], pair[1]),
			g.maker.Repo.PSKFile(g.name, pair[1], pair[0])} {
			if h.Missing() && !(g.o.Sealed && slices.Contains(hosts, h.Host)) {
				all = append(all, h.Host)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// pairs returns the pairs of hosts and their peers that share a preshared key.
func (g *generator) pairs(hosts []string) [][2]string {
	if g.tunnel == nil {
		return nil
	}
	return slices.DeleteFunc(g.tunnel.PSKPairs(), func(p [2]string) bool {
		return !slices.Contains(hosts, p[0]) && !slices.Contains(hosts, p[1])
	})
}

// sealOff makes everything in the vault of a host readable by its own recipients alone,
// from the first key on.
func (g *generator) sealOff(host string) error {
	if g.maker.Repo.Vault.Sealed(host) {
		return nil
	}
	if err := g.maker.Repo.Vault.KeepToHost(host); err != nil {
		return err
	}
	dir := filepath.Join(g.maker.Repo.Vault.Dir, host)
	g.maker.Repo.Changes.Touch(filepath.Join(dir, "recipients.txt"), filepath.Join(dir, "recipients.only.txt"))
	g.maker.Report.Say("the keys of %s are for the recipients in vault/%[1]s/recipients.only.txt alone; push them on %[1]s itself: wgkeys push %[1]s --host %[1]s -i /etc/ssh/ssh_host_ed25519_key", host)
	return nil
}

// A generator makes the keys of one tunnel.
type generator struct {
	maker  *Maker
	o      GenerateOptions
	name   string         // of the tunnel
	tunnel *tunnel.Tunnel // nil: there is no file yet
	made   []string       // what was made, for the user
}

// tell reports a key that was made.
func (g *generator) tell(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	g.made = append(g.made, line)
	g.o.Made(line)
}

// key makes a host's key pair. The vault file is written first: its metadata holds the
// public key, so if gen is interrupted the next one completes the pair.
func (g *generator) key(ctx context.Context, host string) error {
	if err := g.maker.Repo.Sweep(host); err != nil {
		return err
	}
	if c, err := g.maker.Repo.KeyState(host, g.name); err != nil {
		return err
	} else if c.UnderWay() {
		g.maker.Report.Say("%s is in the middle of a rotation in %s; nothing was changed: %s finishes it",
			host, g.name, repo.Commands(g.maker.Repo, g.name).Run("rotate", host))
		return nil
	}
	file := vault.KeyFile(g.name)
	public, err := g.maker.Repo.Ring.Get(host, g.name)
	meta, sealed := g.maker.Repo.Vault.Meta(host, file)
	switch {
	case err == nil:
		return g.hasKey(host, file, public, sealed)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case sealed == nil:
		public = meta.PublicKey
	case errors.Is(sealed, fs.ErrNotExist):
		if public, err = g.pair(ctx, host, file); err != nil {
			return err
		}
	case errors.Is(sealed, vault.ErrNoMeta):
		return repo.WithoutPublic(g.maker.Repo, host, g.name, err)
	default:
		return sealed
	}
	if err := g.maker.Repo.Ring.Put(host, g.name, public); err != nil {
		return err
	}
	g.maker.Repo.Changes.Touch(g.maker.Repo.Vault.Path(host, file), g.maker.Repo.Ring.Path(host, g.name))
	g.tell("%s %s %s", host, g.name, public)
	if g.unmanaged(host) {
		g.maker.Report.Say("nobody logs in to %s: %s shows what is to be brought there by hand, and %s writes it", host,
			g.tunnel.Commands.Run("qr", host), g.tunnel.Commands.Run("export --secret", host))
	}
	return nil
}

// unmanaged reports whether nobody logs in to the host, so that its key is brought there by
// hand.
func (g *generator) unmanaged(host string) bool { return g.tunnel != nil && g.tunnel.Unmanaged(host) }

// hasKey handles a host that has a public key: the vault has to have the private one,
// unless the host makes its keys itself, or nobody logs in to it.
func (g *generator) hasKey(host, file string, public keyring.PublicKey, sealed error) error {
	elsewhere := g.o.OnHost || g.unmanaged(host)
	if sealed == nil || errors.Is(sealed, vault.ErrNoMeta) || elsewhere && errors.Is(sealed, fs.ErrNotExist) {
		g.maker.Report.Say("%s has a key in %s already: %s; nothing was changed", host, g.name, public)
		g.maker.tellByHand(sealed)
		return nil
	}
	return fault.WrapHost(sealed, "no private key in the vault for", host,
		fmt.Sprintf("bring back %s from a backup or from git; if it is lost: rm %s, then %s; if %s made its key itself there is none to bring back",
			ui.Quoted(g.maker.Repo.Vault.Path(host, file)), ui.Quoted(g.maker.Repo.Ring.Path(host, g.name)),
			repo.Commands(g.maker.Repo, g.name).Run("gen", host), host))
}

// pair makes a new key pair, here or on the host.
func (g *generator) pair(ctx context.Context, host, file string) (public keyring.PublicKey, err error) {
	if !g.o.OnHost {
		return g.maker.seal(host, file)
	}
	return g.maker.makeOnHost(ctx, g.tunnel, host, rotate.First)
}

// psks makes the preshared keys that the tunnel file asks for between the
// hosts and their peers.
func (g *generator) psks(hosts []string) error {
	pairs := g.pairs(hosts)
	// Open all files that are needed for the second copy at once, for a hardware key.
	var open []vault.Name
	for _, pair := range pairs {
		mine, other, err := g.maker.Repo.PSK(g.name, pair[0], pair[1])
		switch {
		case err != nil:
			return err
		case mine.Err == nil && other.Missing():
			open = append(open, vault.Name{Host: mine.Host, File: mine.File})
		case mine.Missing() && other.Err == nil:
			open = append(open, vault.Name{Host: other.Host, File: other.File})
		}
	}
	if err := g.maker.IDs.Prepare(g.maker.Repo.Vault, open); err != nil {
		return err
	}
	for _, pair := range pairs {
		if err := g.psk(pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}

// psk makes the preshared key of a pair, one file in each host's folder. If one file
// exists, the other is made from it.
func (g *generator) psk(a, b string) error {
	if err := cmp.Or(g.maker.Repo.Sweep(a), g.maker.Repo.Sweep(b)); err != nil {
		return err
	}
	mine, other, err := g.maker.Repo.PSK(g.name, a, b)
	if err != nil {
		return err
	}
	if mine.Err == nil && other.Err == nil {
		return nil
	}
	psk, err := g.agreed(mine, other)
	if err != nil {
		return err
	}
	for _, h := range []repo.PSKFile{mine, other} {
		if !h.Missing() {
			continue
		}
		g.maker.Repo.Changes.Touch(h.Path)
		err := g.maker.Repo.Vault.SealPSK(h.Host, h.File, psk, time.Now())
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	g.tell("%s %s preshared key with %s", a, g.name, b)
	return nil
}

// agreed returns the preshared key that one of the two hosts has, or a new one if neither
// has.
func (g *generator) agreed(mine, other repo.PSKFile) (keyring.PresharedKey, error) {
	switch {
	case mine.Missing() && other.Missing():
		return keyring.GeneratePresharedKey()
	case mine.Err == nil && other.Missing():
		return g.maker.Repo.Vault.OpenPSK(mine.Host, mine.File, mine.PSK, g.maker.IDs)
	case mine.Missing() && other.Err == nil:
		return g.maker.Repo.Vault.OpenPSK(other.Host, other.File, other.PSK, g.maker.IDs)
	}
	return keyring.PresharedKey{}, errors.Join(mine.Err, other.Err)
}

package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/draft"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/parallel"
	"wgkeys/vault"
)

// Import stores a tunnel that was read from other programs' files: the keys in the vault
// and the keyring, then the tunnel file. It checks for conflicts first, and then changes
// nothing. If it is interrupted, another call does the rest. It returns what was made, one
// line each, also if there is an error.
func (m *Maker) Import(d *draft.Draft) (made []string, err error) {
	i := &importer{maker: m, d: d}
	if err := i.look(); err != nil {
		return nil, err
	}
	for _, step := range []func() error{i.sweep, i.hosts, i.pairs, i.text} {
		if err := step(); err != nil {
			return i.made, err
		}
	}
	return i.made, nil
}

// An importer stores one draft.
type importer struct {
	maker *Maker
	d     *draft.Draft
	done  bool                         // the tunnel file exists
	known map[string]keyring.PublicKey // of the tunnel, in the keyring
	made  []string
}

// path is that of the tunnel file.
func (i *importer) path() string {
	return filepath.Join(i.maker.Repo.Dir, tunnel.Dir, i.d.Tunnel+".toml")
}

// look refuses if something else exists already.
func (i *importer) look() error {
	r := i.maker.Repo
	var errs []error
	switch text, err := files.Read(r.Dir, i.path(), int64(len(i.d.Text))); {
	case err == nil && bytes.Equal(text, i.d.Text):
		i.done = true // by an earlier import
	case !errors.Is(err, fs.ErrNotExist):
		errs = append(errs, fault.NewFile("there is already", r.Rel(i.path()),
			"an import writes a tunnel that is not there yet",
			"-t NAME gives it another name"))
	}
	var err error
	if i.known, err = r.Ring.Load(i.d.Tunnel); err != nil {
		return errors.Join(append(errs, err)...)
	}
	var toSeal []string
	for _, h := range i.d.Hosts {
		if public, ok := i.known[h.Name]; ok && !h.PublicKey.IsZero() && public != h.PublicKey {
			errs = append(errs, fault.NewHost("another key is in the keyring for", h.Name,
				r.Rel(r.Ring.Path(h.Name, i.d.Tunnel))+" is not the public key of the files",
				"--host NAME, or NAME=FILE, names the host otherwise"))
		}
		if !h.PrivateKey.IsZero() {
			toSeal = append(toSeal, h.Name)
		}
	}
	for _, p := range i.d.Pairs {
		if !p.Key.IsZero() {
			toSeal = append(toSeal, p.A, p.B)
		}
	}
	if len(errs) == 0 && len(toSeal) > 0 {
		errs = append(errs, r.Vault.Lists().Agree(toSeal))
	}
	return errors.Join(errs...)
}

// sweep removes temporary files of a killed import, if the folder exists.
func (i *importer) sweep() error {
	r := i.maker.Repo
	there := map[string]bool{}
	for _, dir := range []string{r.Vault.Dir, r.Ring.Dir} {
		entries, err := files.List(r.Dir, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.WrapFile(err, "cannot read", dir, "ls -ld "+ui.Quoted(dir))
		}
		for _, e := range entries {
			there[e.Name()] = true
		}
	}
	for _, h := range i.d.Hosts {
		if there[h.Name] {
			if err := r.Sweep(h.Name); err != nil {
				return err
			}
		}
	}
	dir := filepath.Dir(i.path())
	if err := files.Sweep(r.Dir, dir, func(name string) bool { return name == i.d.Tunnel+".toml" }); err != nil {
		return fault.WrapFile(err, "cannot remove what an earlier command has left in", dir, "ls -la "+ui.Quoted(dir))
	}
	return nil
}

// hosts stores the keys of the hosts, the private ones first: their metadata has the public
// ones.
func (i *importer) hosts() error {
	r := i.maker.Repo
	var private []draft.Host
	var paths, lines []string
	public := map[string]keyring.PublicKey{}
	for _, h := range i.d.Hosts {
		if h.PublicKey.IsZero() {
			continue
		}
		switch there, err := i.privateThere(h); {
		case err != nil:
			return err
		case !there:
			private = append(private, h)
			paths = append(paths, r.Vault.Path(h.Name, vault.KeyFile(i.d.Tunnel)))
		}
		if _, there := i.known[h.Name]; !there {
			public[h.Name] = h.PublicKey
		}
		paths = append(paths, r.Ring.Path(h.Name, i.d.Tunnel))
		lines = append(lines, fmt.Sprintf("%s %s %s", h.Name, i.d.Tunnel, h.PublicKey))
	}
	r.Changes.Touch(paths...)
	err := i.seal(len(private), func(b *vault.Batch, n int) error {
		return b.SealKey(private[n].Name, vault.KeyFile(i.d.Tunnel), private[n].PrivateKey, time.Now())
	})
	if err == nil {
		err = r.Ring.PutAll(i.d.Tunnel, public)
	}
	if err == nil {
		i.made = append(i.made, lines...)
	}
	return err
}

// privateThere reports whether the vault has the private key of h, or need not have it.
func (i *importer) privateThere(h draft.Host) (bool, error) {
	if h.PrivateKey.IsZero() {
		return true, nil
	}
	r, file := i.maker.Repo, vault.KeyFile(i.d.Tunnel)
	meta, err := r.Vault.Meta(h.Name, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err == nil && meta.PublicKey != h.PublicKey:
		err = fault.NewFile("another key is in", r.Rel(r.Vault.Path(h.Name, file)), "it is not that of the files",
			"--host NAME, or NAME=FILE, names the host otherwise")
	}
	return true, err
}

// seal makes n vault files, on all cores.
func (i *importer) seal(n int, one func(b *vault.Batch, n int) error) error {
	if n == 0 {
		return nil
	}
	b, err := vault.NewBatch(i.maker.Repo.Vault)
	if err != nil {
		return err
	}
	defer b.Close()
	errs := make([]error, n)
	parallel.Queue(n, func(n int) { errs[n] = one(b, n) })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return b.Commit()
}

// pairs stores the preshared keys, each in the folders of both hosts.
func (i *importer) pairs() error {
	r := i.maker.Repo
	var all []repo.PSKFile
	var keys []keyring.PresharedKey
	var paths, lines []string
	for _, p := range i.d.Pairs {
		if p.Key.IsZero() {
			continue
		}
		for _, f := range []repo.PSKFile{r.PSKFile(i.d.Tunnel, p.A, p.B), r.PSKFile(i.d.Tunnel, p.B, p.A)} {
			switch {
			case f.Missing():
				all, keys, paths = append(all, f), append(keys, p.Key), append(paths, f.Path)
			case f.Err != nil:
				return f.Err
			case f.PSK != p.Key.Fingerprint():
				return fault.NewFile("another preshared key is in", r.Rel(f.Path), "it is not that of the files", "")
			}
		}
		lines = append(lines, fmt.Sprintf("%s %s preshared key with %s", p.A, i.d.Tunnel, p.B))
	}
	r.Changes.Touch(paths...)
	err := i.seal(len(all), func(b *vault.Batch, n int) error {
		return b.SealPSK(all[n].Host, all[n].File, keys[n], time.Now())
	})
	if err == nil {
		i.made = append(i.made, lines...)
	}
	return err
}

// text writes the tunnel file last, when all the keys exist that it asks for.
func (i *importer) text() error {
	r := i.maker.Repo
	r.Changes.Touch(i.path())
	if i.done {
		return nil
	}
	if err := files.Create(r.Dir, i.path(), i.d.Text, 0o644|r.Vault.Shared); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write tunnel file", r.Rel(i.path()), "ls -ld "+tunnel.Dir)
	}
	i.made = append(i.made, fmt.Sprintf("tunnels/%s.toml, %s", i.d.Tunnel, ui.Plural(len(i.d.Hosts), "host")))
	return nil
}

package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/draft"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/vault"
)

// Import takes a tunnel in that other programs' files made up: the keys into the vault
// and the keyring, then the tunnel file. It looks first for what stands in the way, and
// changes nothing then. Interrupted, it does the rest when it is called again. It
// returns what was made, a line each, also with an error.
func (m *Maker) Import(d *draft.Draft) (made []string, err error) {
	i := &importer{maker: m, d: d}
	if err := i.look(); err != nil {
		return nil, err
	}
	for _, step := range []func() error{i.hosts, i.pairs, i.text} {
		if err := step(); err != nil {
			return i.made, err
		}
	}
	return i.made, nil
}

// An importer takes in one draft.
type importer struct {
	maker *Maker
	d     *draft.Draft
	made  []string
}

func (i *importer) tell(format string, args ...any) {
	i.made = append(i.made, fmt.Sprintf(format, args...))
}

// path is that of the tunnel file.
func (i *importer) path() string {
	return filepath.Join(i.maker.Repo.Dir, tunnel.Dir, i.d.Tunnel+".toml")
}

// look finds what is there already and is another.
func (i *importer) look() error {
	r := i.maker.Repo
	var errs []error
	if _, err := fs.Stat(r.Tunnels(), i.d.Tunnel+".toml"); err == nil {
		errs = append(errs, fault.NewFile("there is already", r.Rel(i.path()), "an import writes a tunnel that is not there yet",
			"-t NAME gives it another name"))
	} else if !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	var toSeal []string
	for _, h := range i.d.Hosts {
		if err := i.other(h); err != nil {
			errs = append(errs, err)
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

// other finds a key of h that is not the one of the files.
func (i *importer) other(h draft.Host) error {
	r := i.maker.Repo
	public, err := r.Ring.Get(h.Name, i.d.Tunnel)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !h.PublicKey.IsZero() && public != h.PublicKey:
		return fault.NewHost("another key is in the keyring for", h.Name,
			r.Rel(r.Ring.Path(h.Name, i.d.Tunnel))+" is not the public key of the files", "--host NAME, or NAME=FILE, names the host otherwise")
	}
	return nil
}

// hosts keeps the keys of the hosts, the private one first: its metadata has the public one.
func (i *importer) hosts() error {
	r := i.maker.Repo
	for _, h := range i.d.Hosts {
		if h.PublicKey.IsZero() {
			continue
		}
		if !h.PrivateKey.IsZero() {
			file := vault.KeyFile(i.d.Tunnel)
			r.Changes.Touch(r.Vault.Path(h.Name, file))
			meta, err := r.Vault.Meta(h.Name, file)
			if errors.Is(err, fs.ErrNotExist) {
				err = r.Vault.SealKey(h.Name, file, h.PrivateKey, time.Now())
			} else if err == nil && meta.PublicKey != h.PublicKey {
				err = fault.NewFile("another key is in", r.Rel(r.Vault.Path(h.Name, file)), "it is not that of the files",
					"--host NAME, or NAME=FILE, names the host otherwise")
			}
			if err != nil {
				return err
			}
		}
		r.Changes.Touch(r.Ring.Path(h.Name, i.d.Tunnel))
		if err := r.Ring.Put(h.Name, i.d.Tunnel, h.PublicKey); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		i.tell("%s %s %s", h.Name, i.d.Tunnel, h.PublicKey)
	}
	return nil
}

// pairs keeps the preshared keys, each in the folders of both hosts.
func (i *importer) pairs() error {
	r := i.maker.Repo
	for _, p := range i.d.Pairs {
		if p.Key.IsZero() {
			continue
		}
		for _, f := range []repo.PSKFile{r.PSKFile(i.d.Tunnel, p.A, p.B), r.PSKFile(i.d.Tunnel, p.B, p.A)} {
			if err := i.psk(f, p.Key); err != nil {
				return err
			}
		}
		i.tell("%s %s preshared key with %s", p.A, i.d.Tunnel, p.B)
	}
	return nil
}

func (i *importer) psk(f repo.PSKFile, key keyring.PresharedKey) error {
	r := i.maker.Repo
	switch {
	case f.Missing():
		r.Changes.Touch(f.Path)
		return r.Vault.SealPSK(f.Host, f.File, key, time.Now())
	case f.Err != nil:
		return f.Err
	case f.PSK != key.Fingerprint():
		return fault.NewFile("another preshared key is in", r.Rel(f.Path), "it is not that of the files", "")
	}
	return nil
}

// text writes the tunnel file, last: what it asks for is there then.
func (i *importer) text() error {
	r := i.maker.Repo
	r.Changes.Touch(i.path())
	if err := files.Create(r.Dir, i.path(), i.d.Text, 0o644|r.Vault.Shared); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write tunnel file", r.Rel(i.path()), "ls -ld "+tunnel.Dir)
	}
	i.tell("tunnels/%s.toml, %d hosts", i.d.Tunnel, len(i.d.Hosts))
	return nil
}

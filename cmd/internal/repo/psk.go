package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// A PSKFile is a host's vault file of a preshared key, and what its metadata says.
type PSKFile struct {
	Host, File, Path string
	vault.Meta
	Err error
}

// Missing reports whether there is no such file.
func (h PSKFile) Missing() bool { return errors.Is(h.Err, fs.ErrNotExist) }

// PSK returns the two vault files of the preshared key of a and b. They may hold different
// secrets if somebody has replaced one in the repository: that is an error, since each host
// would drop all packets of the other.
func (r *Repo) PSK(tunnel, a, b string) (mine, other PSKFile, err error) {
	mine, other = r.PSKFile(tunnel, a, b), r.PSKFile(tunnel, b, a)
	if mine.Err == nil && other.Err == nil && mine.PSK != other.PSK {
		err = fault.New("two preshared keys for one pair of hosts", a+", "+b,
			mine.Path+" and "+other.Path+" hold different ones",
			fmt.Sprintf("git log -- %s %s; for a new one: %s", ui.Quoted(mine.Path), ui.Quoted(other.Path),
				Commands(r, tunnel).Run("rotate --psk", a)))
	}
	return mine, other, err
}

// PSKFile is the vault file of a host for the preshared key with peer.
func (r *Repo) PSKFile(tunnel, host, peer string) PSKFile {
	h := PSKFile{Host: host, File: vault.PSKFile(tunnel, peer)}
	h.Path = r.Vault.Path(host, h.File)
	h.Meta, h.Err = r.Vault.Meta(host, h.File)
	return h
}

// Expected is what a vault file has to hold, by the keyring or, for a preshared key, by the
// file of the other host.
func (r *Repo) Expected(n vault.Name) (vault.Expected, error) {
	if tunnel, ok := strings.CutSuffix(n.File, ".key"); ok {
		public, err := expectedKey(r, n.Host, tunnel)
		if errors.Is(err, fs.ErrNotExist) {
			err = WithoutPublic(r, n.Host, tunnel, err)
		}
		return vault.Expected{PublicKey: public}, err
	}
	tunnel, peer := OwnerOf(n.File)
	if tunnel == "" {
		return vault.Expected{}, fault.New("not the name of a preshared key:", n.File, "one is TUNNEL.PEER.psk", "")
	}
	mine, other, err := r.PSK(tunnel, n.Host, peer)
	switch {
	case err != nil:
		return vault.Expected{}, err
	case other.Err == nil:
		return vault.Expected{PSK: other.PSK}, nil
	case mine.Err == nil: // an error of the other file is reported for the other host
		return vault.Expected{PSK: mine.PSK}, nil
	case errors.Is(mine.Err, vault.ErrNoMeta) && errors.Is(other.Err, vault.ErrNoMeta):
		return vault.Expected{Other: vault.Name{Host: other.Host, File: other.File}}, nil
	case errors.Is(mine.Err, vault.ErrNoMeta) && other.Missing(): // gen makes the other file from it
		return vault.Expected{}, nil
	}
	return vault.Expected{}, errors.Join(mine.Err, other.Err)
}

// expectedKey is the public key of a host's wg0.key or wg0.next.key. In the middle of a
// rotation the keyring may be a step behind.
func expectedKey(r *Repo, host, name string) (public keyring.PublicKey, err error) {
	tunnel, next := strings.CutSuffix(name, ".next")
	c, err := r.KeyState(host, tunnel)
	switch {
	case errors.Is(err, vault.ErrNoMeta) && next: // made by stock age: only the keyring says it
		return r.Ring.GetFrom(r.Snapshot, host, name)
	case err != nil && !errors.Is(err, vault.ErrNoMeta):
		return public, err
	case next && c.Next.IsZero():
		return c.inVault, nil
	case next, c.VaultPromoted:
		return c.Next, nil
	}
	return r.Ring.GetFrom(r.Snapshot, host, tunnel)
}

// WithoutPublic is the error of a private key in the vault whose public one is not in the
// keyring, which is err. If wgkeys made the key, its metadata has the public one. For any other
// key it is not taken from the file: whoever may write there could give a host a key that he has.
func WithoutPublic(r *Repo, host, tunnel string, err error) error {
	hint := Commands(r, tunnel).Gen(host)
	file := vault.KeyFile(tunnel)
	if _, meta := r.Vault.Meta(host, file); errors.Is(meta, vault.ErrNoMeta) {
		public := r.Ring.Path(host, tunnel)
		hint = fmt.Sprintf("if you know it for yours: mkdir -p %s && age -d -i IDENTITY %s | wg pubkey >%s, then wgkeys rekey %s",
			ui.Quoted(filepath.Dir(public)), ui.Quoted(r.Vault.Path(host, file)), ui.Quoted(public), host)
	}
	return fault.WrapHost(err, "no public key to compare with for host", host, hint)
}

package vault

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// SealKey encrypts a private key, made at the given time, to the recipients of
// host as a new file. If there is one already the error is [fs.ErrExist] and
// the file is left as it is.
func (v Vault) SealKey(host, file string, k keyring.PrivateKey, created time.Time) error {
	return v.sealKey(host, file, k, created, os.Link)
}

// SealPSK encrypts a preshared key as [Vault.SealKey] does a private key.
func (v Vault) SealPSK(host, file string, k keyring.PresharedKey, created time.Time) error {
	return v.sealPSK(host, file, k, created, os.Link)
}

// ReplaceKey is [Vault.SealKey] for a file that may be there already: a rekey,
// or the end of a rotation. At every moment the path has the old file or the
// new one, whole.
func (v Vault) ReplaceKey(host, file string, k keyring.PrivateKey, created time.Time) error {
	return v.sealKey(host, file, k, created, os.Rename)
}

// ReplacePSK replaces a preshared key as [Vault.ReplaceKey] does a private key.
func (v Vault) ReplacePSK(host, file string, k keyring.PresharedKey, created time.Time) error {
	return v.sealPSK(host, file, k, created, os.Rename)
}

// A putter gives a finished temporary file its name: [os.Link], which fails
// where there is a file of that name, or [os.Rename], which replaces it. Both
// are atomic.
type putter func(temp, path string) error

func (v Vault) sealKey(host, file string, k keyring.PrivateKey, created time.Time, put putter) error {
	if k.IsZero() || !strings.HasSuffix(file, keySuffix) {
		return fault.New("cannot seal", file, "a private key goes to a file named TUNNEL.key", "")
	}
	m := Meta{Host: host, File: file, PublicKey: k.PublicKey(), Created: created}
	return v.seal(m, k.File(), put)
}

func (v Vault) sealPSK(host, file string, k keyring.PresharedKey, created time.Time, put putter) error {
	if k.IsZero() || !strings.HasSuffix(file, pskSuffix) {
		return fault.New("cannot seal", file, "a preshared key goes to a file named TUNNEL.PEER.psk", "")
	}
	m := Meta{Host: host, File: file, PSK: k.Fingerprint(), Created: created}
	return v.seal(m, k.File(), put)
}

// seal writes text, which it wipes, as the vault file that m describes.
func (v Vault) seal(m Meta, text []byte, put putter) error {
	defer clear(text)
	if err := checkNames(m.Host, m.File); err != nil {
		return err
	}
	rs, err := v.Recipients(m.Host)
	if err != nil {
		return err
	}
	path := v.Path(m.Host, m.File)
	sealed, err := encrypt(m, text, rs)
	if err == nil {
		err = write(path, sealed, put)
	}
	if errors.Is(err, fs.ErrExist) {
		return fault.Wrap(fs.ErrExist, "cannot make vault file", path, "wgkeys rotate "+m.Host)
	}
	if err != nil {
		return fault.Wrap(fault.Errno(err), "cannot make vault file", path, "")
	}
	return nil
}

// encrypt returns the vault file of text.
func encrypt(m Meta, text []byte, rs Recipients) ([]byte, error) {
	m.Version, m.Recipients = version, rs.Fingerprints()
	meta := &metaRecipient{meta: m}
	if len(rs) > 0 && rs[0].PostQuantum {
		meta.labels = []string{"postquantum"}
	}
	all := []age.Recipient{meta}
	for _, r := range rs {
		all = append(all, r.age)
	}
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, all...)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close(), a.Close()); err != nil {
		return nil, err
	}
	if out.Len() > maxFile {
		return nil, fmt.Errorf("too many recipients: with %d it would be larger than %d KiB", len(rs), maxFile>>10)
	}
	return out.Bytes(), nil
}

// write makes the file at path in full or not at all.
func write(path string, sealed []byte, put putter) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(sealed)
	if err = cmp.Or(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := put(f.Name(), path); err != nil {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

// syncDir makes a new name in dir survive a power failure (fsync(2), NOTES).
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

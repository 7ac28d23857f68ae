package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
)

// SealKey encrypts a private key, made at the given time, to the recipients of
// host as a new file. If there is one already the error is [fs.ErrExist] and
// the file is left as it is.
func (v Vault) SealKey(host, file string, k keyring.PrivateKey, created time.Time) error {
	return v.sealer().SealKey(host, file, k, created)
}

// SealPSK encrypts a preshared key as [Vault.SealKey] does a private key.
func (v Vault) SealPSK(host, file string, k keyring.PresharedKey, created time.Time) error {
	return v.sealer().SealPSK(host, file, k, created)
}

func (v Vault) sealer() *sealer {
	return &sealer{v, v.Lists(), func(path string, text []byte, mode fs.FileMode) error {
		return files.Create(v.repository(), path, text, mode)
	}}
}

// A Batch makes many vault files at once, as a [files.Batch] does. Several goroutines may
// seal with it.
type Batch struct {
	sealer
	files *files.Batch
}

// NewBatch begins a batch. The caller holds the lock of the repository.
func NewBatch(v Vault) (*Batch, error) {
	b, err := files.NewBatch(v.repository(), v.Dir)
	if err != nil {
		return nil, fault.WrapFile(err, "cannot open the vault", v.Dir, "ls -ld "+words.ForShell(v.Dir))
	}
	return &Batch{sealer{v, v.Lists(), b.Add}, b}, nil
}

// Commit gives the files their names. An existing file is left as it is, and is an error.
func (b *Batch) Commit() error {
	if err := b.files.Commit(); err != nil {
		return fault.WrapFile(err, "cannot make vault files in", b.vault.Dir, "the same command again does the rest")
	}
	return nil
}

// Close removes what was sealed and not committed.
func (b *Batch) Close() error { return b.files.Close() }

// A sealer makes vault files with its function create: one by one, or in a batch.
type sealer struct {
	vault  Vault
	lists  *Lists
	create func(path string, text []byte, mode fs.FileMode) error
}

// SealKey is [Vault.SealKey].
func (s *sealer) SealKey(host, file string, k keyring.PrivateKey, created time.Time) error {
	if k.IsZero() || !strings.HasSuffix(file, keySuffix) {
		return fault.New("cannot seal", file, "a private key goes to a file named TUNNEL.key", "")
	}
	return s.seal(file, Meta{Host: host, File: installed(file), PublicKey: k.PublicKey(), Created: created}, k.File())
}

// SealPSK is [Vault.SealPSK].
func (s *sealer) SealPSK(host, file string, k keyring.PresharedKey, created time.Time) error {
	if k.IsZero() || !strings.HasSuffix(file, pskSuffix) {
		return fault.New("cannot seal", file, "a preshared key goes to a file named TUNNEL.PEER.psk", "")
	}
	return s.seal(file, Meta{Host: host, File: file, PSK: k.Fingerprint(), Created: created}, k.File())
}

// seal encrypts text, which it wipes, and writes the vault file; m is its metadata.
func (s *sealer) seal(file string, m Meta, text []byte) error {
	defer clear(text)
	if err := checkNames(m.Host, file); err != nil {
		return err
	}
	rs, labels, err := s.lists.labelled(m.Host)
	if err != nil {
		return err
	}
	path := s.vault.Path(m.Host, file)
	sealed, err := encrypt(m, text, rs, labels)
	if err == nil {
		err = s.create(path, sealed, 0o600|s.vault.Shared)
	}
	hint := ""
	if errors.Is(err, fs.ErrExist) && isNext(file) {
		hint = toRun(s.vault, "rotate", m.Host, file) + " finishes the rotation that is under way"
	} else if errors.Is(err, fs.ErrExist) {
		hint = "for a new key: rm " + path + " and its public key in keyring/" + m.Host + "/, then " +
			toRun(s.vault, "gen", m.Host, file)
	}
	if err != nil {
		return fault.WrapFile(err, "cannot make vault file", path, hint)
	}
	return nil
}

// encrypt returns the vault file for text. The labels are those of all of rs.
func encrypt(m Meta, text []byte, rs Recipients, labels []string) ([]byte, error) {
	m.Version, m.Recipients = version, rs.Fingerprints()
	meta := &metaRecipient{meta: m, labels: labels}
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

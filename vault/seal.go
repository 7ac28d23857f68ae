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
)

// SealKey encrypts a private key, made at the given time, to the recipients of
// host as a new file. If there is one already the error is [fs.ErrExist] and
// the file is left as it is.
func (v Vault) SealKey(host, file string, k keyring.PrivateKey, created time.Time) error {
	if k.IsZero() || !strings.HasSuffix(file, keySuffix) {
		return fault.New("cannot seal", file, "a private key goes to a file named TUNNEL.key", "")
	}
	return v.seal(file, Meta{Host: host, File: installed(file), PublicKey: k.PublicKey(), Created: created}, k.File())
}

// SealPSK encrypts a preshared key as [Vault.SealKey] does a private key.
func (v Vault) SealPSK(host, file string, k keyring.PresharedKey, created time.Time) error {
	if k.IsZero() || !strings.HasSuffix(file, pskSuffix) {
		return fault.New("cannot seal", file, "a preshared key goes to a file named TUNNEL.PEER.psk", "")
	}
	return v.seal(file, Meta{Host: host, File: file, PSK: k.Fingerprint(), Created: created}, k.File())
}

// seal writes text, which it wipes, as the vault file of file, which m describes.
func (v Vault) seal(file string, m Meta, text []byte) error {
	defer clear(text)
	if err := checkNames(m.Host, file); err != nil {
		return err
	}
	rs, labels, err := v.Lists().labelled(m.Host)
	if err != nil {
		return err
	}
	path := v.Path(m.Host, file)
	sealed, err := encrypt(m, text, rs, labels)
	if err == nil {
		err = files.Create(v.repository(), path, sealed, 0o600|v.Shared)
	}
	hint := ""
	if errors.Is(err, fs.ErrExist) && isNext(file) {
		hint = "wgkeys rotate " + m.Host + " finishes the rotation that is under way"
	} else if errors.Is(err, fs.ErrExist) {
		hint = "for a new key: rm " + path + " and its public key in keyring/" + m.Host + "/, then wgkeys gen " + m.Host
	}
	if err != nil {
		return fault.WrapFile(err, "cannot make vault file", path, hint)
	}
	return nil
}

// encrypt returns the vault file of text. The labels are those of all of rs.
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

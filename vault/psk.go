package vault

import (
	"strings"
	"time"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// ReplacePSK replaces the preshared key in a file of host by one that was made at the given
// time, or makes the file if there is none. At every moment the file is there whole, with
// the old key or the new one. The caller holds the lock of the repository.
func (v Vault) ReplacePSK(host, file string, k keyring.PresharedKey, created time.Time) error {
	if k.IsZero() || !strings.HasSuffix(file, pskSuffix) {
		return fault.New("cannot seal", file, "a preshared key goes to a file named TUNNEL.PEER.psk", "")
	}
	if err := checkNames(host, file); err != nil {
		return err
	}
	rs, labels, err := v.Lists().labelled(host)
	if err != nil {
		return err
	}
	text := k.File()
	defer clear(text)
	path := v.Path(host, file)
	staged := files.Staged(path)
	sealed, err := encrypt(Meta{Host: host, File: file, PSK: k.Fingerprint(), Created: created}, text, rs, labels)
	if err == nil {
		err = files.Remove(v.repository(), staged) // left by a killed process
	}
	if err == nil {
		err = files.Create(v.repository(), staged, sealed, 0o600|v.Shared)
	}
	if err == nil {
		err = files.Rename(v.repository(), staged, path)
	}
	if err != nil {
		files.Remove(v.repository(), staged)
		return fault.WrapFile(err, "cannot replace vault file", path, "")
	}
	return nil
}

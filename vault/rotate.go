package vault

import (
	"strings"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// KeyFile is the name of a tunnel's private key file as it is installed. KeyFile of
// [keyring.Next] is that of the key to which a rotation is changing.
func KeyFile(tunnel string) string { return tunnel + keySuffix }

// PSKFile is the name of the file of the preshared key with a peer.
func PSKFile(tunnel, peer string) string { return tunnel + "." + peer + pskSuffix }

func isNext(file string) bool { return strings.HasSuffix(file, nextSuffix) }

// installed is the name that a file has on its host once it is in use, which is in the
// metadata of both "wg0.key" and "wg0.next.key".
func installed(file string) string {
	if name, ok := strings.CutSuffix(file, nextSuffix); ok {
		return name + keySuffix
	}
	return file
}

// Promote makes host's next private key in tunnel its present one, by a rename that cannot
// be undone. It needs no identity, but refuses a file whose metadata does not belong there,
// since the old key would be lost. If there is no next key the error is [fs.ErrNotExist].
func (v Vault) Promote(host, tunnel string) error {
	next := KeyFile(keyring.Next(tunnel))
	if _, err := v.Meta(host, next); err != nil {
		return err
	}
	from, to := v.Path(host, next), v.Path(host, KeyFile(tunnel))
	if err := files.Rename(v.repository(), from, to); err != nil {
		return fault.WrapFile(err, "cannot make the next private key the present one", from, "")
	}
	return nil
}

// RemoveKey removes host's vault file, for a host that keeps its key to itself. A missing
// file is no error.
func (v Vault) RemoveKey(host, file string) error {
	if err := checkNames(host, file); err != nil {
		return err
	}
	if err := files.Remove(v.repository(), v.Path(host, file)); err != nil {
		return fault.WrapFile(err, "cannot remove vault file", v.Path(host, file), "")
	}
	return nil
}

package vault

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
)

// NewIdentity makes an identity and writes it to path as a new file of mode
// 0600, in the form of age-keygen(1). It returns the recipient. If there is a
// file already the error is [fs.ErrExist] and the file is left as it is.
func NewIdentity(path string, postQuantum bool, created time.Time) (recipient string, err error) {
	secret, recipient, err := generate(postQuantum)
	if err != nil {
		return "", err
	}
	text := fmt.Appendf(nil, "# created: %s\n# public key: %s\n%s\n", created.Format(time.RFC3339), recipient, secret)
	defer clear(text)
	if err := writeSecret(path, text); err != nil {
		hint := "ls -ld " + words.ForShell(filepath.Dir(path))
		if errors.Is(err, fs.ErrExist) { // but nothing found an identity in it
			hint = "look into it; if it is empty: rm " + path + ", then this again"
		}
		return "", fault.WrapFile(fault.Errno(err), "cannot make the identity file", path, hint)
	}
	return recipient, nil
}

func generate(postQuantum bool) (secret, recipient string, err error) {
	if postQuantum {
		h, err := age.GenerateHybridIdentity()
		if err != nil {
			return "", "", err
		}
		return h.String(), h.Recipient().String(), nil
	}
	x, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", err
	}
	return x.String(), x.Recipient().String(), nil
}

// writeSecret uses no temporary file, since that would hold the secret, too.
func writeSecret(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := files.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := files.CreateSecret(path)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = cmp.Or(err, files.GiveSecret(f), f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return err
	}
	return files.Sync(dir)
}

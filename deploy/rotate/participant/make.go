package participant

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// makeKey makes the next key, or the first one, on this host, so that it never leaves it.
// An existing next key is used, unless it was stored beside a key that was stolen.
func makeKey(ctx context.Context, q rotate.Request, a *rotate.Answer) error {
	path := q.KeyFile
	if !q.Now {
		path = rotate.NextFile(q.Tunnel, q.KeyFile)
		unlock, err := clearNext(ctx, q, path)
		if err != nil {
			return err
		}
		defer unlock()
	}
	key, err := wg.ReadPrivateKey(path, "")
	if errors.Is(err, fs.ErrNotExist) {
		key, err = createKey(path)
	}
	if err != nil {
		return err
	}
	a.Made = key.PublicKey()
	return nil
}

// clearNext removes a next key that is not valid: it was stored beside a key that was
// stolen, or is the present one, brought by a push that came too late. If it is in use
// already it first becomes the present one. Until unlock nobody begins a rotation.
func clearNext(ctx context.Context, q rotate.Request, path string) (unlock func(), err error) {
	if next := fileKey(path).PublicKey; q.Fresh && !next.IsZero() && next != fileKey(q.KeyFile).PublicKey &&
		next == liveKey(q) {
		q.Next = next
		if err := promote(q); err != nil {
			return nil, err
		}
	}
	if unlock, err = noSwitch(ctx, q.Tunnel); err != nil {
		return nil, err
	}
	next := fileKey(path).PublicKey
	if next.IsZero() || !q.Fresh && next != fileKey(q.KeyFile).PublicKey {
		return unlock, nil
	}
	if err := os.Remove(path); err != nil {
		unlock()
		return nil, fault.WrapFile(fault.Errno(err), "cannot remove", path, "")
	}
	return unlock, nil
}

func createKey(path string) (keyring.PrivateKey, error) {
	key, err := keyring.GeneratePrivateKey()
	if err != nil {
		return key, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return key, fault.WrapFile(fault.Errno(err), "cannot make the folder", filepath.Dir(path), "")
	}
	text := key.File()
	defer clear(text)
	return key, files.Create(filepath.Dir(path), path, text, 0o600)
}

// liveKey is the public key that the tunnel uses; zero: none, or it is not known.
func liveKey(q rotate.Request) keyring.PublicKey {
	d, err := openDevice(q.Tunnel, q.KeyFile)
	if err != nil {
		return keyring.PublicKey{}
	}
	defer d.close()
	live, _ := d.Look()
	return live.PublicKey
}

package apply

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// A Pending is an apply that waits to be confirmed and is reverted if it is
// not: the file /run/wgkeys/TUNNEL.pending. Who removes the file has decided.
type Pending struct {
	Token    string       `json:"token"`    // of the apply, so that no other is confirmed by mistake
	Deadline time.Time    `json:"deadline"` // when it is reverted
	Before   *tunnel.View `json:"before"`   // what to go back to; null: to nothing
	After    *tunnel.View `json:"after"`    // what was applied
}

func pendingPath(dir, name string) string { return filepath.Join(dir, name+".pending") }

// ReadPending returns the apply of a tunnel that waits to be confirmed, or nil.
func ReadPending(dir, name string) (*Pending, error) {
	text, err := os.ReadFile(pendingPath(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var p Pending
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Errno(err), "cannot read", pendingPath(dir, name), "")
	}
	return &p, nil
}

// Write makes or renews the file.
func (p *Pending) Write(dir, name string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return writeFile(pendingPath(dir, name), text, 0o600)
}

// RemovePending decides: nothing is reverted any more.
func RemovePending(dir, name string) error {
	err := os.Remove(pendingPath(dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Errno(err), "cannot remove", pendingPath(dir, name), "")
	}
	return nil
}

// WriteFile replaces a file by a new one of mode 0644, at once and for good.
func WriteFile(path string, text []byte) error { return writeFile(path, text, 0o644) }

func writeFile(path string, text []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.Wrap(fault.Errno(err), "cannot make the folder", dir, "")
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fault.Wrap(fault.Errno(err), "cannot write", path, "")
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fault.Wrap(fault.Errno(err), "cannot write", path, "")
	}
	return nil
}

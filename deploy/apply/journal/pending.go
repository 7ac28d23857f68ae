package journal

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

// A Pending is an apply that waits to be confirmed and is otherwise reverted: the file
// /run/wgkeys/TUNNEL.pending. Whoever removes the file has decided.
type Pending struct {
	Token    string        `json:"token"`    // identifies the apply, so that no other is confirmed by mistake
	Deadline time.Duration `json:"deadline"` // when it is reverted, by the clock of [Uptime]
	Before   *tunnel.View  `json:"before"`   // the view to go back to; null: none
	After    *tunnel.View  `json:"after"`    // what was applied
	Guarded  bool          `json:"guarded"`  // both guards have read the previous state: the steps begin
	Done     bool          `json:"done"`     // all steps were taken: before that nothing can be confirmed
	Damaged  bool          `json:"-"`        // the file cannot be read: revert now
}

// Left is the time that remains to confirm.
func (p *Pending) Left() time.Duration { return p.Deadline - Uptime() }

func pendingPath(dir, name string) string { return filepath.Join(dir, name+".pending") }

// ReadPending returns the apply of a tunnel that waits to be confirmed, or nil. If its file
// is damaged it is reverted, which is safer than keeping it.
func ReadPending(dir, name string) (*Pending, error) {
	path := pendingPath(dir, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read", path, hintFile(err, path))
	}
	var p Pending
	if json.Unmarshal(text, &p) != nil {
		return &Pending{Damaged: true}, nil
	}
	return &p, nil
}

// Write makes or renews the file.
func (p *Pending) Write(dir, name string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return WriteFile(pendingPath(dir, name), text, 0o600)
}

// RemovePending confirms: nothing is reverted any more.
func RemovePending(dir, name string) error {
	err := os.Remove(pendingPath(dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.WrapFile(fault.Errno(err), "cannot remove", pendingPath(dir, name), "")
	}
	return nil
}

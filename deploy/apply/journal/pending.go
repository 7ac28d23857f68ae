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

// A Pending is an apply that waits to be confirmed and is reverted if it is
// not: the file /run/wgkeys/TUNNEL.pending. Who removes the file has decided.
type Pending struct {
	Token    string        `json:"token"`    // of the apply, so that no other is confirmed by mistake
	Deadline time.Duration `json:"deadline"` // when it is reverted, on the clock of [Uptime]
	Before   *tunnel.View  `json:"before"`   // what to go back to; null: to nothing
	After    *tunnel.View  `json:"after"`    // what was applied
	Guarded  bool          `json:"guarded"`  // both guards have seen what was before: the steps begin
	Done     bool          `json:"done"`     // all steps were taken: before that there is nothing to confirm
	Damaged  bool          `json:"-"`        // the file says nothing: the time has come
}

// Left is how long there is to confirm.
func (p *Pending) Left() time.Duration { return p.Deadline - Uptime() }

func pendingPath(dir, name string) string { return filepath.Join(dir, name+".pending") }

// ReadPending returns the apply of a tunnel that waits to be confirmed, or nil.
// One whose file is damaged has to be reverted: better that than never.
func ReadPending(dir, name string) (*Pending, error) {
	text, err := os.ReadFile(pendingPath(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Errno(err), "cannot read", pendingPath(dir, name), hintFile(err, pendingPath(dir, name)))
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

// RemovePending decides: nothing is reverted any more.
func RemovePending(dir, name string) error {
	err := os.Remove(pendingPath(dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Errno(err), "cannot remove", pendingPath(dir, name), "")
	}
	return nil
}

package session

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/keyring/fault"
)

func revertedPath(name string) string { return filepath.Join(linux.RunDir, name+".reverted") }

func confirmedPath(name string) string { return filepath.Join(linux.RunDir, name+".confirmed") }

// Reverted reports whether the apply with this token was reverted, and Confirmed whether it
// was confirmed.
func Reverted(name, token string) bool { return says(revertedPath(name), token) }

// Confirmed: see Reverted.
func Confirmed(name, token string) bool { return says(confirmedPath(name), token) }

// LastReverted reports whether nothing was done to the tunnel since an apply was reverted.
func LastReverted(name string) bool {
	_, err := os.Stat(revertedPath(name))
	return err == nil
}

func forgetReverted(name string) error {
	if err := os.Remove(revertedPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.WrapFile(fault.Errno(err), "cannot remove", revertedPath(name), "")
	}
	return nil
}

func says(path, token string) bool {
	last, err := os.ReadFile(path)
	return err == nil && string(last) == token
}

// Confirm makes the pending apply permanent.
func Confirm(name string, p *journal.Pending) error {
	return errors.Join(journal.WriteFile(confirmedPath(name), []byte(p.Token), 0o600),
		journal.RemovePending(linux.RunDir, name))
}

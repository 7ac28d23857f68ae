//go:build unix

package files

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Readers returns the group that was given read access to a secret file of root's on
// purpose, as systemd.netdev(5) recommends: "owned by root:systemd-network with a 0640 file
// mode". A mode that lets root's own group read says nothing about intent.
func Readers(info fs.FileInfo) (group int, chosen bool) {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || owner.Uid != 0 || owner.Gid == 0 {
		return 0, false
	}
	mode := info.Mode() &^ 0o200
	return int(owner.Gid), mode == 0o440
}

// KeepReaders gives a new file, which will replace old, to the group that may read that
// one.
func KeepReaders(old, replacement string) error {
	info, err := os.Lstat(old)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	group, chosen := Readers(info)
	if !chosen {
		return nil
	}
	// The group first and then the mode, so that no other group can read it for a moment.
	if err := os.Lchown(replacement, 0, group); err != nil {
		return err
	}
	return os.Chmod(replacement, info.Mode().Perm())
}

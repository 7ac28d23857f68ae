//go:build unix

package files

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Move renames a file anywhere on this host, with its owner and mode. If the new path
// exists it stays, and the error is fs.ErrExist. To another file system a regular file is
// copied; only its owner can read the copy until it is complete.
func Move(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	err := os.Rename(from, to)
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	f, opened := os.Open(from)
	if opened != nil {
		return opened
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return syscall.EXDEV
	}
	if err := moveCopy(f, info, to); err != nil {
		return err
	}
	return os.Remove(from)
}

func moveCopy(f *os.File, info fs.FileInfo, to string) error {
	owned := func(temp *os.File) error {
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			return temp.Chown(int(s.Uid), int(s.Gid))
		}
		return nil
	}
	return Replace(to, f, Replacement{Mode: info.Mode().Perm(), Prepare: owned})
}

//go:build unix

package files

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Move renames a file anywhere on this host, with its owner and mode. If the new path
// exists it stays, and the error is fs.ErrExist. To another file system a regular file is
// copied; only its owner can read the copy until it is complete.
func Move(from, to string) error {
	err := renameIfFree(from, to)
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
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

// renameIfFree leaves it to the kernel to refuse a name that something has, where the
// file system can do that.
func renameIfFree(from, to string) error {
	err := retryEINTR(func() error { return renameNew(unix.AT_FDCWD, from, to) })
	switch {
	case err == unix.EINVAL, err == unix.ENOSYS, err == unix.ENOTSUP:
		if _, err := os.Lstat(to); err == nil {
			return fs.ErrExist
		}
		return os.Rename(from, to)
	case err == unix.EEXIST:
		return fs.ErrExist
	case err != nil:
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
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

package journal

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
)

// CheckWritable returns the error that a change of a tunnel would meet if dir, or the
// folder in which it would be made, is on a read-only file system.
func CheckWritable(dir string) error {
	for at := dir; ; at = filepath.Dir(at) {
		switch err := unix.Access(at, unix.W_OK); {
		case errors.Is(err, unix.EROFS):
			return fault.WrapFile(fault.Errno(err), "cannot keep what a change does in", dir, hintFile(err, dir))
		case !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at):
			return nil
		}
	}
}

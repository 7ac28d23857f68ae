//go:build unix

package files

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// HasModes reports whether the mode of a file says who may read and write it.
const HasModes = true

// NoFollow is the flag that refuses to open a symbolic link.
const NoFollow = syscall.O_NOFOLLOW

// OpenDir opens a folder for reading. Anything else is refused without being opened: to
// open a FIFO would wait for its writer (fifo(7)).
func OpenDir(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY, 0)
}

func openDirIn(r *os.Root, name string) (*os.File, error) {
	return r.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
}

// Sync makes a new name in dir survive a power failure: fsync(2) of a file does not sync
// the folder that has its name.
func Sync(dir string) error {
	d, err := OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func syncIn(r *os.Root, dir string) error {
	d, err := openDirIn(r, dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// replaceFile renames a file over another one.
func replaceFile(from, to string) error { return os.Rename(from, to) }

// withoutLinks reports whether err says that the file system has no hard links.
func withoutLinks(err error) bool { return err != nil && refused(err) }

// whileOpen is for systems that do not replace or remove an open file.
func whileOpen(do func() error) error { return do() }

// CreateSecret makes a new file that only its owner can read, from birth. If the file
// exists the error is [fs.ErrExist].
func CreateSecret(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// createTemp makes a temporary file that will get this mode.
func createTemp(dir, pattern string, _ fs.FileMode) (*os.File, error) {
	return os.CreateTemp(dir, pattern) // with O_EXCL and 0600
}

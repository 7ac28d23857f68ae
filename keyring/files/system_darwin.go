package files

import (
	"os"

	"golang.org/x/sys/unix"
)

// asPath opens a folder only for the calls that take a folder; macOS has no such flag.
const asPath = unix.O_RDONLY

// renameNew renames a file within a folder, unless the new name exists.
func renameNew(fd int, from, to string) error {
	return unix.RenameatxNp(fd, from, fd, to, unix.RENAME_EXCL)
}

// defaultList is the size of an open folder's default access control list. macOS has lists
// of another kind, which are not looked at.
func defaultList(int) (int, error) { return 0, nil }

// Flush syncs all that is written on the file system of dir. macOS has no call for one file
// system that waits for the disk.
func Flush(dir *os.File) error { return dir.Sync() }

// Flushes reports whether [Flush] syncs everything: it does not, so each file has to be
// synced by itself.
func Flushes(string) bool { return false }

package files

import (
	"os"

	"golang.org/x/sys/unix"
)

// asPath opens a folder for the calls that take one; macOS has no way for nothing else.
const asPath = unix.O_RDONLY

// renameNew gives a file of a folder another name there, which none may have.
func renameNew(fd int, from, to string) error {
	return unix.RenameatxNp(fd, from, fd, to, unix.RENAME_EXCL)
}

// defaultList is the size of an open folder's access control list that what is made in it
// gets: macOS has lists of another kind, which are not looked at.
func defaultList(int) (int, error) { return 0, nil }

// Flush brings to the disk what is written on the file system of dir. macOS has no call for
// one file system that waits for the disk.
func Flush(dir *os.File) error { return dir.Sync() }

// Flushes tells whether [Flush] does all that it says: it does not, and each file is to be
// flushed by itself.
func Flushes(string) bool { return false }

package files

import (
	"os"
)

// Flush would bring to the disk what is written on the file system of dir: only who may do
// all on a disk can ask Windows for that.
func Flush(dir *os.File) error { return Sync(dir.Name()) }

// Flushes tells whether [Flush] does all that it says: it does not, and each file is to be
// flushed by itself.
func Flushes(string) bool { return false }

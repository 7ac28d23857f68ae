package files

import (
	"os"
)

// Flush would sync all that is written on the file system of dir, but on Windows that takes
// an administrator's rights.
func Flush(dir *os.File) error { return Sync(dir.Name()) }

// Flushes reports whether [Flush] syncs everything: it does not, so each file has to be
// synced by itself.
func Flushes(string) bool { return false }

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

// read lists the open folder into t.found.
func (t *taker) read(h handle) error {
	t.found = t.found[:0]
	dir, err := h.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	for _, e := range entries {
		t.found = append(t.found, found{e.Name(), e.Type()})
	}
	return err
}

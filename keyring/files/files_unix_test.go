//go:build unix

package files

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWithoutModes: that a mode cannot be set is no error only where the file has more rights
// than it was made with.
func TestWithoutModes(t *testing.T) {
	for _, c := range []struct {
		name string
		born os.FileMode
		err  error
		want bool
	}{
		{"a file system without modes", 0o777, unix.EPERM, true},
		{"one that says so", 0o644, unix.EOPNOTSUPP, true},
		{"somebody else's file", 0o600, unix.EPERM, false},
		{"a broken disk", 0o777, unix.EIO, false},
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Chmod(c.born); err != nil {
			t.Fatal(err)
		}
		if got := withoutModes(int(f.Fd()), 0o644, c.err); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

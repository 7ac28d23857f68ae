//go:build unix

package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestMove: a file keeps its text and mode, also on another file system, and takes nobody's
// place.
func TestMove(t *testing.T) {
	other, err := os.MkdirTemp("/dev/shm", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(other)
	for _, dir := range []string{t.TempDir(), other} {
		from, to := filepath.Join(t.TempDir(), "a"), filepath.Join(dir, "b")
		if err := os.WriteFile(from, []byte("text"), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(from, 0o604); err != nil {
			t.Fatal(err)
		}
		if err := Move(from, to); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(to)
		info, failed := os.Stat(to)
		if string(text) != "text" || errors.Join(err, failed) != nil || info.Mode().Perm() != 0o604 {
			t.Errorf("%q, %v, %v", text, info, err)
		}
		if _, err := os.Lstat(from); err == nil {
			t.Error("it is where it was, too")
		}
		if err := os.WriteFile(from, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Move(from, to); !errors.Is(err, fs.ErrExist) {
			t.Errorf("it took another's place: %v", err)
		}
	}
}

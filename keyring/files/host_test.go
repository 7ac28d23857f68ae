package files_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/keyring/files"
)

// TestReplace: there is the old file or the new one, and nothing beside it; the new one
// is private until it is whole.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	must(t, os.WriteFile(path, []byte("old"), 0o600))
	refused := errors.New("refused")
	private := func(f *os.File) error {
		if info, err := f.Stat(); err != nil || info.Mode() != 0o600 || info.Size() != 0 {
			t.Errorf("it begins as %v, %v", info, err)
		}
		return nil
	}
	for name, r := range map[string]files.Replacement{
		"prepare": {Mode: 0o644, Prepare: func(*os.File) error { return refused }},
		"check":   {Mode: 0o644, Prepare: private, Check: func(string) error { return refused }},
	} {
		if err := files.Replace(path, strings.NewReader("new"), r); !errors.Is(err, refused) {
			t.Errorf("%s: %v", name, err)
		}
		holds(t, path, "old", 0o600)
	}
	if err := files.Replace(path, io.MultiReader(strings.NewReader("n"), failing{}),
		files.Replacement{Mode: 0o644}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a text that ends early: %v", err)
	}
	holds(t, path, "old", 0o600)
	for _, r := range []files.Replacement{{Mode: 0o755}, {Mode: 0o644, Unsynced: true}, {Mode: 0o600, Prepare: private},
		{Mode: 0o755, Inherit: true}} {
		must(t, files.Replace(path, strings.NewReader("new"), r))
		holds(t, path, "new", r.Mode)
	}
	if err := files.Replace(filepath.Join(dir, "none/file"), strings.NewReader("new"),
		files.Replacement{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

// holds checks a file, and that it is alone in its folder.
func holds(t *testing.T, path, want string, mode fs.FileMode) {
	t.Helper()
	text, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || string(text) != want || info.Mode() != mode {
		t.Errorf("it holds %q, %v, %v", text, info, errors.Join(err, statErr))
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("there are %v, %v", entries, err)
	}
}

// TestLocks: of two one has the lock, and a third sees that somebody has it.
func TestLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	first, second, third := open(), open(), open()
	must(t, files.TryLock(first))
	if err := files.TryLock(second); err != files.ErrLocked {
		t.Errorf("two have it: %v", err)
	}
	if !files.IsLocked(third) {
		t.Error("nobody seems to have it")
	}
	waited := make(chan error)
	go func() { waited <- files.WaitLock(second) }()
	must(t, first.Close())
	must(t, <-waited)
	must(t, second.Close())
	if files.IsLocked(third) {
		t.Error("somebody seems to have it")
	}
	if pid, err := files.Owner(third); pid != 0 || err != nil {
		t.Errorf("process %d owns it, %v", pid, err)
	}
}

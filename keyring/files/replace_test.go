package files

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// newSwapper is one of the folder "top" of a repository, in which the folder "host"
// has the file "key". Beside the repository is a folder "outside" with such a file.
func newSwapper(t *testing.T) (s *Swapper, base, key string) {
	t.Helper()
	base = t.TempDir()
	for _, dir := range []string{"repo/top/host", "repo/other/host", "outside"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	key = filepath.Join(base, "repo/top/host/key")
	for _, path := range []string{key, filepath.Join(base, "outside/key")} {
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := NewSwapper(filepath.Join(base, "repo"), filepath.Join(base, "repo/top"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, base, key
}

var old = sha256.Sum256([]byte("old"))

// soon fails where do waits for ever, for the writer of a FIFO, say.
func soon(t *testing.T, do func() error) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("it waits")
		return nil
	}
}

func TestSwapper(t *testing.T) {
	s, _, key := newSwapper(t)
	if err := s.Stage(key, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(key); err != nil || string(text) != "old" {
		t.Errorf("before the swap: %q, %v", text, err)
	}
	if err := s.Swap(key, sha256.Sum256(nil), 100); !errors.Is(err, errChanged) {
		t.Errorf("another file: %v", err)
	}
	if err := s.Swap(key, old, 2); err == nil {
		t.Error("a file that is too large is swapped")
	}
	if err := s.Swap(key, old, 100); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(key); err != nil || string(text) != "new" {
		t.Errorf("after the swap: %q, %v", text, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(key)); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestSwapperOfOthers: a folder of another one has its own files.
func TestSwapperOfOthers(t *testing.T) {
	s, base, key := newSwapper(t)
	other := filepath.Join(base, "repo/other/host/key")
	if err := s.StageUnsynced(other, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(Staged(key)); err == nil {
		t.Error("it is staged in a folder of the same name")
	}
	if _, err := os.Lstat(Staged(other)); err != nil {
		t.Error(err)
	}
}

// TestSwapperLeads: no link leads out of the repository, and a FIFO has no writer.
func TestSwapperLeads(t *testing.T) {
	s, base, key := newSwapper(t)
	if err := os.Symlink(filepath.Join(base, "outside"), filepath.Join(base, "repo/top/link")); err != nil {
		t.Fatal(err)
	}
	err := s.StageUnsynced(filepath.Join(base, "repo/top/link/key"), []byte("new"), 0o600)
	if !errors.Is(err, ErrOutside) {
		t.Errorf("a folder outside: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Join(base, "outside")); err != nil || len(entries) != 1 {
		t.Errorf("outside: %v, %v", entries, err)
	}
	for kind, put := range map[string]func() error{
		"a link outside": func() error { return os.Symlink(filepath.Join(base, "outside/key"), key) },
		"a FIFO":         func() error { return syscall.Mkfifo(key, 0o600) },
		"a folder":       func() error { return os.Mkdir(key, 0o755) },
	} {
		if err := errors.Join(os.Remove(key), put()); err != nil {
			t.Fatal(err)
		}
		if err := s.StageUnsynced(key, []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := soon(t, func() error { return s.Swap(key, old, 100) }); err == nil {
			t.Errorf("%s was replaced", kind)
		}
		if err := s.Unstage(key); err != nil {
			t.Error(err)
		}
	}
}

// TestStageInTheWay: what has the name of a temporary file already stays as it is.
func TestStageInTheWay(t *testing.T) {
	s, base, key := newSwapper(t)
	way, outside := Staged(key), filepath.Join(base, "outside/key")
	for kind, put := range map[string]func() error{
		"a file":   func() error { return os.WriteFile(way, []byte("theirs"), 0o600) },
		"a link":   func() error { return os.Symlink(outside, way) },
		"a FIFO":   func() error { return syscall.Mkfifo(way, 0o600) },
		"a folder": func() error { return os.Mkdir(way, 0o755) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if err := soon(t, func() error { return s.StageUnsynced(key, []byte("new"), 0o600) }); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", kind, err)
		}
		if text, err := os.ReadFile(outside); err != nil || string(text) != "old" {
			t.Errorf("%s: outside there is %q, %v", kind, text, err)
		}
		if err := os.Remove(way); err != nil {
			t.Errorf("%s is gone: %v", kind, err)
		}
	}
}

// TestSnapshotOfFalseSize: of a file that says it is empty, as those of proc(5) do, the
// disk is asked.
func TestSnapshotOfFalseSize(t *testing.T) {
	const path = "/proc/sys/fs/file-max"
	disk := Take("/proc/sys", "fs")
	if text, ok := disk.Text(path); ok {
		t.Errorf("it was seen whole: %q", text)
	}
	if text, err := disk.Read("/proc/sys", path, 100); err != nil || len(text) == 0 {
		t.Errorf("%q, %v", text, err)
	}
}

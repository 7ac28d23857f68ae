package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// batches begins one in a new repository, whose folder "top" is not there yet: as it is,
// and where each file is synced by itself.
func batches(t *testing.T, do func(t *testing.T, b *Batch, root string)) {
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprintf("slow=%v", slow), func(t *testing.T) {
			root := t.TempDir()
			b, err := NewBatch(root, filepath.Join(root, "top"))
			if err != nil {
				t.Fatal(err)
			}
			b.slow = slow
			do(t, b, root)
		})
	}
}

// tree are the files below root, with their modes and what is in them.
func tree(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		text, _ := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		fmt.Fprintf(&b, "%s %v %s\n", name, info.Mode(), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBatch(t *testing.T) {
	batches(t, func(t *testing.T, b *Batch, root string) {
		in := func(name string) string { return filepath.Join(root, "top", name) }
		if err := Create(root, in("old/a"), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		for _, name := range []string{"new/a", "new/b", "old/a", "old/b", "other/a"} {
			wait.Go(func() {
				mode := fs.FileMode(0o644)
				if strings.HasSuffix(name, "b") {
					mode = 0o600
				}
				if err := b.Add(in(name), []byte(name), mode); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		for line := range strings.Lines(tree(t, root)) {
			if path, _, _ := strings.Cut(line, " "); !IsTemporary(filepath.Base(path)) && path != "top/old/a" {
				t.Errorf("%s has its name before all is on disk", path)
			}
		}
		err := b.Commit()
		if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "old/a") || strings.Contains(err.Error(), "old/b") {
			t.Errorf("one is there already: %v", err)
		}
		const want = "top/new/a -rw-r--r-- new/a\ntop/new/b -rw------- new/b\ntop/old/a -rw-r--r-- old\ntop/old/b -rw------- old/b\n" +
			"top/other/a -rw-r--r-- other/a\n"
		if err := b.Close(); err != nil || tree(t, root) != want {
			t.Errorf("%v\n%s", err, tree(t, root))
		}
	})
}

// TestBatchClosed: what has got no name is removed; of who was killed Sweep removes it.
func TestBatchClosed(t *testing.T) {
	batches(t, func(t *testing.T, b *Batch, root string) {
		path := filepath.Join(root, "top/new/wg0.pub")
		if err := b.Add(path, []byte("text"), 0o644); err != nil {
			t.Fatal(err)
		}
		isKey := func(name string) bool { return name == "wg0.pub" }
		if err := Sweep(root, filepath.Dir(path), isKey); err != nil || tree(t, root) != "" {
			t.Errorf("%v\n%s", err, tree(t, root))
		}
		if err := b.Add(path, []byte("text"), 0o644); err != nil {
			t.Fatal(err)
		}
		b.Close()
		if tree(t, root) != "" {
			t.Errorf("left is\n%s", tree(t, root))
		}
	})
}

// TestBatchLinks: no link leads it out of the repository, nor is another kind of file taken
// for a folder.
func TestBatchLinks(t *testing.T) {
	batches(t, func(t *testing.T, b *Batch, root string) {
		outside := t.TempDir()
		top := filepath.Join(root, "top")
		if err := errors.Join(
			os.Symlink(outside, filepath.Join(top, "evil")), syscall.Mkfifo(filepath.Join(top, "fifo"), 0o600),
			os.MkdirAll(filepath.Join(top, "real"), 0o755), os.Symlink("real", filepath.Join(top, "same"))); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"evil", "fifo"} {
			if err := soon(t, func() error { return b.Add(filepath.Join(top, host, "a"), nil, 0o600) }); err == nil {
				t.Errorf("%s was taken for a folder of the repository", host)
			}
		}
		if err := b.Add(filepath.Join(top, "same/a"), []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.Commit(), b.Close()); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(filepath.Join(top, "real/a")); err != nil || string(text) != "text" {
			t.Errorf("%q, %v", text, err)
		}
		if tree(t, outside) != "" {
			t.Error(tree(t, outside))
		}
	})
}

// TestBatchShared: what is made is for those who may write to the folder, as with Create.
func TestBatchShared(t *testing.T) {
	root := t.TempDir()
	top := filepath.Join(root, "top")
	if err := errors.Join(os.Mkdir(top, 0o755), os.Chmod(top, 0o2775)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(top, 1234, 1235); err != nil {
			t.Fatal(err)
		}
	}
	b, err := NewBatch(root, top)
	if err == nil {
		err = errors.Join(b.Add(filepath.Join(top, "batch/a"), nil, 0o644), b.Commit(), b.Close(),
			Create(root, filepath.Join(top, "create/a"), nil, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "a"} {
		var infos [2]string
		for i, dir := range []string{"batch", "create"} {
			var st syscall.Stat_t
			if err := syscall.Stat(filepath.Join(top, dir, name), &st); err != nil {
				t.Fatal(err)
			}
			infos[i] = fmt.Sprintf("%o %d %d", st.Mode, st.Uid, st.Gid)
		}
		if infos[0] != infos[1] {
			t.Errorf("%q: %s by a batch, %s by Create", name, infos[0], infos[1])
		}
	}
}

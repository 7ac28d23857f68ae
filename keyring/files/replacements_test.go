package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// replacements begins some in a new folder with the file "old", as it is and where each is
// synced by itself.
func replacements(t *testing.T, do func(t *testing.T, r *Replacements, dir string)) {
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprintf("slow=%v", slow), func(t *testing.T) {
			dir := t.TempDir()
			r, err := NewReplacements(dir)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "old"), []byte("old"), 0o644)
			}
			if err == nil {
				err = os.Mkdir(filepath.Join(dir, "sub"), 0o755)
			}
			if err != nil {
				t.Fatal(err)
			}
			r.slow = slow
			do(t, r, dir)
		})
	}
}

func TestReplacements(t *testing.T) {
	replacements(t, func(t *testing.T, r *Replacements, dir string) {
		for name, mode := range map[string]fs.FileMode{"old": 0o600, "sub/new": 0o644} {
			if err := r.Add(filepath.Join(dir, name), []byte("new "+name), mode); err != nil {
				t.Fatal(err)
			}
		}
		if got := tree(t, dir); !strings.Contains(got, "old -rw-r--r-- old\n") || strings.Contains(got, "sub/new ") {
			t.Errorf("before the commit there is\n%s", got)
		}
		const want = "old -rw------- new old\nsub/new -rw-r--r-- new sub/new\n"
		if err := errors.Join(r.Commit(), r.Close()); err != nil || tree(t, dir) != want {
			t.Errorf("%v\n%s", err, tree(t, dir))
		}
	})
}

// TestReplacementsFail: what could not be put in its place is removed, and the rest is whole.
func TestReplacementsFail(t *testing.T) {
	replacements(t, func(t *testing.T, r *Replacements, dir string) {
		if err := r.Add(filepath.Join(dir, "none/a"), nil, 0o644); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a folder that is not there: %v", err)
		}
		for _, name := range []string{"old", "sub", "last"} { // a folder is in the way of the second
			if err := r.Add(filepath.Join(dir, name), []byte("new"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Commit(); err == nil {
			t.Error("a folder was replaced")
		}
		if err := r.Close(); err != nil || tree(t, dir) != "old -rw------- new\n" {
			t.Errorf("%v\n%s", err, tree(t, dir))
		}
	})
}

// TestReplacementsFolders: folders are made on the way, and are gone where nothing stays in
// them.
func TestReplacementsFolders(t *testing.T) {
	top := t.TempDir()
	for _, commit := range []bool{false, true} {
		r, err := NewReplacements(filepath.Join(top, "a/b"))
		if err != nil {
			t.Fatal(err)
		}
		sub := filepath.Join(top, "a/b/c")
		err = errors.Join(r.Folder(sub), r.Folder(sub), r.Add(filepath.Join(sub, "new"), []byte("new"), 0o644))
		want := ""
		if commit {
			err = errors.Join(err, r.Commit())
			want = "a/b/c/new -rw-r--r-- new\n"
		}
		if err := errors.Join(err, r.Close()); err != nil || tree(t, top) != want {
			t.Errorf("%v\n%s", err, tree(t, top))
		}
		if entries, err := os.ReadDir(top); err != nil || commit != (len(entries) > 0) {
			t.Error(entries, err)
		}
	}
	if _, err := NewReplacements("/proc/none/deeper"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(top, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := NewReplacements(filepath.Join(top, "file/below")); err == nil {
		t.Error("a file has folders")
	}
}

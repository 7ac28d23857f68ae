package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
			if err := r.Add(name, []byte("new "+name), mode); err != nil {
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
		if err := r.Add("none/a", nil, 0o644); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a folder that is not there: %v", err)
		}
		if err := r.Add("sub", nil, 0o644); !errors.Is(err, errNoFile) {
			t.Errorf("a folder in the place of a file: %v", err)
		}
		for _, name := range []string{"old", "late", "last"} {
			if err := r.Add(name, []byte("new"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(filepath.Join(dir, "late"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := r.Commit(); err == nil {
			t.Error("a folder was replaced")
		}
		if err := r.Close(); err != nil || tree(t, dir) != "old -rw------- new\n" {
			t.Errorf("%v\n%s", err, tree(t, dir))
		}
	})
}

// newFolder begins some for the folder a/b, of which nothing exists below top.
func newFolder(t *testing.T, do func(t *testing.T, r *Replacements, top string)) {
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprintf("slow=%v", slow), func(t *testing.T) {
			top := t.TempDir()
			r, err := NewReplacements(filepath.Join(top, "a/b") + "/")
			if err != nil {
				t.Fatal(err)
			}
			r.slow = slow
			if err := errors.Join(r.Folder("c"), r.Folder("c"), r.Add("c/new", []byte("new"), 0o640)); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(filepath.Join(top, "a/b")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("before the commit: %v", err)
			}
			do(t, r, top)
		})
	}
}

// names are those in a folder.
func names(t *testing.T, dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

// TestReplacementsFolder: a folder that did not exist gets its name when all is in it.
func TestReplacementsFolder(t *testing.T) {
	newFolder(t, func(t *testing.T, r *Replacements, top string) {
		const want = "a/b/c/new -rw-r----- new\n"
		if err := errors.Join(r.Commit(), r.Close()); err != nil || tree(t, top) != want {
			t.Errorf("%v\n%s", err, tree(t, top))
		}
		if got := names(t, filepath.Join(top, "a")); got != "b" {
			t.Errorf("beside it is %s", got)
		}
	})
}

// TestReplacementsFolderClosed: without a commit nothing stays of the folder, nor of those above.
func TestReplacementsFolderClosed(t *testing.T) {
	newFolder(t, func(t *testing.T, r *Replacements, top string) {
		if err := r.Close(); err != nil || names(t, top) != "" {
			t.Errorf("%v, left is %s", err, names(t, top))
		}
	})
}

// TestReplacementsFolderTaken: what has got the name of the folder in the meantime stays as it is.
func TestReplacementsFolderTaken(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"file":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"link":   func(path string) error { return os.Symlink("none", path) },
	} {
		t.Run(name, func(t *testing.T) {
			newFolder(t, func(t *testing.T, r *Replacements, top string) {
				path := filepath.Join(top, "a/b")
				if err := take(path); err != nil {
					t.Fatal(err)
				}
				before, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Commit(); !errors.Is(err, fs.ErrExist) {
					t.Errorf("the commit: %v", err)
				}
				err = r.Close()
				after, errAfter := os.Lstat(path)
				if errAfter != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() {
					t.Errorf("it was %v, and is %v, %v", before, after, errAfter)
				}
				if got := names(t, filepath.Join(top, "a")); err != nil || got != "b" {
					t.Errorf("%v, left is %s", err, got)
				}
			})
		})
	}
}

// TestReplacementsTemporary: what a killed process with the same number has left is no obstacle.
func TestReplacementsTemporary(t *testing.T) {
	top := t.TempDir()
	left := filepath.Join(top, fmt.Sprintf("%s%d.1", Temporary, os.Getpid()))
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := NewReplacements(filepath.Join(top, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Add("new", []byte("new"), 0o600), r.Commit(), r.Close()); err != nil {
		t.Error(err)
	}
	if got, want := names(t, top), filepath.Base(left)+" a"; got != want {
		t.Errorf("there is %s, not %s", got, want)
	}
}

// TestReplacementsRefused: a folder that is not there and cannot be made.
func TestReplacementsRefused(t *testing.T) {
	top := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(top, "file"), nil, 0o644),
		os.Symlink("none", filepath.Join(top, "link"))); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		"":                             fs.ErrNotExist,
		"/proc/none/deeper":            fs.ErrNotExist,
		filepath.Join(top, "file"):     syscall.ENOTDIR,
		filepath.Join(top, "file/new"): syscall.ENOTDIR,
		filepath.Join(top, "link"):     fs.ErrNotExist,
		filepath.Join(top, "link/new"): fs.ErrNotExist,
	} {
		if _, err := NewReplacements(path); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", path, err, want)
		}
	}
	if got := names(t, top); got != "file link" {
		t.Errorf("there is %s", got)
	}
}

// TestReplacementsAbove: ".." in a path is what is written before it, as for the files in the folder,
// whether it exists or not.
func TestReplacementsAbove(t *testing.T) {
	top := t.TempDir()
	for range 2 {
		r, err := NewReplacements(top + "/none/../new")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Add("a", nil, 0o600), r.Commit(), r.Close()); err != nil {
			t.Error(err)
		}
	}
	if got := tree(t, top); got != "new/a -rw------- \n" {
		t.Errorf("there is %s", got)
	}
}

// TestReplacementsLink: a link to a folder is one.
func TestReplacementsLink(t *testing.T) {
	top := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(top, "real"), 0o700),
		os.Symlink("real", filepath.Join(top, "link"))); err != nil {
		t.Fatal(err)
	}
	r, err := NewReplacements(filepath.Join(top, "link"))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(r.Add("new", []byte("new"), 0o600), r.Commit(), r.Close())
	got := tree(t, top)
	if err != nil || !strings.Contains(got, "real/new -rw------- new\n") || names(t, top) != "link real" {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestReplacementsFolders: in a folder that exists others are made, and are gone where nothing
// stays in them.
func TestReplacementsFolders(t *testing.T) {
	for _, commit := range []bool{false, true} {
		replacements(t, func(t *testing.T, r *Replacements, dir string) {
			err := errors.Join(r.Folder("c"), r.Folder("c"), r.Add("c/new", []byte("new"), 0o644))
			want := "old sub"
			if commit {
				err = errors.Join(err, r.Commit())
				want = "c old sub"
			}
			if err := errors.Join(err, r.Close()); err != nil || names(t, dir) != want {
				t.Errorf("%v\n%s", err, tree(t, dir))
			}
		})
	}
}

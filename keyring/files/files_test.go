package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"wgkeys/keyring/files"
)

// newRepo returns a repository with a file, beside a folder that is not its own.
func newRepo(t *testing.T) (root, outside string) {
	t.Helper()
	dir := t.TempDir()
	root, outside = filepath.Join(dir, "net"), filepath.Join(dir, "outside")
	for _, d := range []string{root, outside} {
		must(t, os.Mkdir(d, 0o755))
	}
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret\n"), 0o600))
	must(t, files.Create(root, filepath.Join(root, "keyring/shale/wg0.pub"), []byte("public\n"), 0o644))
	return root, outside
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCreate(t *testing.T) {
	root, _ := newRepo(t)
	for mode, name := range map[fs.FileMode]string{0o600: "vault/shale/wg0.key.age", 0o644: "wgkeys.toml",
		0o640: "a/b/c/d"} {
		path := filepath.Join(root, name)
		must(t, files.Create(root, path, []byte("text\n"), mode))
		if err := files.Create(root, path, []byte("other\n"), mode); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s twice: %v", name, err)
		}
		if text, err := files.Read(root, path, 5); err != nil || string(text) != "text\n" {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
		if entries, err := files.List(root, filepath.Dir(path)); err != nil || name != "wgkeys.toml" && len(entries) != 1 {
			t.Errorf("beside %s: %v, %v", name, entries, err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	root, _ := newRepo(t)
	path := filepath.Join(root, "keyring/shale/wg0.pub")
	if _, err := files.Read(root, path, 6); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a byte too many: %v", err)
	}
	if _, err := files.Read(root, path+".old", 6); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	must(t, syscall.Mkfifo(path+".fifo", 0o600))
	for _, p := range []string{path + ".fifo", filepath.Dir(path)} {
		if _, err := files.Read(root, p, 6); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// A link that leads out is refused by every door, wherever it stands, and what
// is outside stays as it was. One that stays inside is as good as a file.
func TestLinks(t *testing.T) {
	root, outside := newRepo(t)
	in := func(name string) string { return filepath.Join(root, name) }
	must(t, os.Mkdir(in("vault"), 0o755))
	for link, target := range map[string]string{
		"keyring/evil": outside, "vault/evil": "../../outside", "tunnels": outside, "secret": filepath.Join(outside,
			"secret"),
		"keyring/same": "shale",
	} {
		must(t, os.Symlink(target, in(link)))
	}
	for _, name := range []string{"keyring/evil/secret", "vault/evil/secret", "tunnels/secret", "secret",
		"../outside/secret"} {
		if text, err := files.Read(root, in(name), 100); !errors.Is(err, files.ErrOutside) {
			t.Errorf("read %s: %q, %v", name, text, err)
		}
	}
	for _, name := range []string{"keyring/evil/wg0.pub", "vault/evil/wg0.key.age", "tunnels/wg0.toml", "../outside/x",
		"vault/evil/deeper/x"} {
		if err := files.Create(root, in(name), []byte("x"), 0o600); !errors.Is(err, files.ErrOutside) {
			t.Errorf("create %s: %v", name, err)
		}
	}
	if _, err := files.List(root, in("tunnels")); !errors.Is(err, files.ErrOutside) {
		t.Errorf("list: %v", err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside there are %v, %v", entries, err)
	}
	if text, err := files.Read(root, in("keyring/same/wg0.pub"), 100); err != nil || string(text) != "public\n" {
		t.Errorf("a link inside: %q, %v", text, err)
	}
}

// What a program that was killed has left goes, and nothing else does: neither a
// file of somebody else's, nor a folder or a link that is named as one of ours.
func TestSweep(t *testing.T) {
	root, outside := newRepo(t)
	dir := filepath.Join(root, "keyring/shale")
	left := []string{".ABCDEFGHIJKLMNOPQRSTUVWXYZ.wg0.key.age", ".22222222222222222222222222.wg0.pub",
		".wg0.key.age.replacing"}
	kept := []string{".ABC.wg0.pub", ".ABCDEFGHIJKLMNOPQRSTUVWXYZ.", ".ABCDEFGHIJKLMNOPQRSTUVWXYZ.txt", ".emacs.replacing",
		".gitignore", ".replacing",
		".wg0.pub.swp", "ABCDEFGHIJKLMNOPQRSTUVWXYZ.wg0.pub", "replacing", "wg0.pub", "wg0.pub.replacing"}
	for _, name := range slices.Concat(left, kept) {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	must(t, os.MkdirAll(filepath.Join(dir, ".wg1.pub.replacing", "full"), 0o700))
	must(t, os.Symlink(outside, filepath.Join(dir, ".wg2.pub.replacing")))
	kept = append(kept, ".wg1.pub.replacing", ".wg2.pub.replacing")
	slices.Sort(kept)
	ours := func(name string) bool { return strings.HasSuffix(name, ".age") || strings.HasSuffix(name, ".pub") }
	must(t, files.Sweep(root, dir, ours))
	must(t, files.Sweep(root, filepath.Join(root, "keyring/none"), ours))
	entries, err := files.List(root, dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, kept) {
		t.Errorf("left are %q, want %q", names, kept)
	}
}

func TestRenameAndRemove(t *testing.T) {
	root, outside := newRepo(t)
	from, to := filepath.Join(root, "keyring/shale/wg0.next.pub"), filepath.Join(root, "keyring/shale/wg0.pub")
	must(t, files.Create(root, from, []byte("next\n"), 0o644))
	must(t, files.Rename(root, from, to))
	if text, err := files.Read(root, to, 5); err != nil || string(text) != "next\n" {
		t.Errorf("it holds %q, %v", text, err)
	}
	if err := files.Rename(root, from, to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renamed twice: %v", err)
	}
	must(t, files.Remove(root, to))
	must(t, files.Remove(root, to))
	if entries, err := files.List(root, filepath.Dir(to)); err != nil || len(entries) != 0 {
		t.Errorf("what is left: %v, %v", entries, err)
	}
	must(t, os.Symlink(outside, filepath.Join(root, "keyring/evil")))
	evil := filepath.Join(root, "keyring/evil/secret")
	if err := files.Remove(root, evil); !errors.Is(err, files.ErrOutside) {
		t.Errorf("removed outside: %v", err)
	}
	if err := files.Rename(root, evil, filepath.Join(root, "keyring/evil/other")); !errors.Is(err, files.ErrOutside) {
		t.Errorf("renamed outside: %v", err)
	}
	if _, err := os.Stat(filepath.Join(outside, "secret")); err != nil {
		t.Error(err)
	}
}

package files_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"wgkeys/keyring/files"
)

// newSeen is a repository with one of everything in its keyring and its vault.
func newSeen(t *testing.T) (root string, paths []string) {
	t.Helper()
	root, outside := newRepo(t)
	in := func(name string) string { return filepath.Join(root, name) }
	must(t, files.Create(root, in("keyring/basalt/deep/er/x"), nil, 0o600))
	must(t, files.Create(root, in("keyring/basalt/limit"), make([]byte, 64<<10), 0o644))
	must(t, files.Create(root, in("keyring/basalt/larger"), make([]byte, 64<<10+1), 0o644))
	must(t, files.Create(root, in("wgkeys.toml"), nil, 0o644))
	must(t, syscall.Mkfifo(in("keyring/shale/fifo"), 0o622))
	must(t, os.Chmod(in("keyring/shale/fifo"), 0o622))
	must(t, os.Mkdir(in("keyring/empty"), 0o755))
	for link, target := range map[string]string{
		"keyring/same": "shale", "keyring/evil": outside, "keyring/shale/evil.pub": "../../../outside/secret",
		"keyring/shale/same.pub": "wg0.pub", "keyring/shale/nothing.pub": "nowhere", "vault": "keyring",
	} {
		must(t, os.Symlink(target, in(link)))
	}
	for _, name := range []string{
		"", "wgkeys.toml", "keyring", "keyring/", "keyring/none", "keyring/none/wg0.pub", "keyring/basalt", "keyring/empty",
		"keyring/empty/x",
		"keyring/basalt/limit", "keyring/basalt/larger", "keyring/basalt/deep/er", "keyring/basalt/deep/er/x",
		"keyring/basalt/deep/none/x",
		"keyring/shale", "keyring/shale/wg0.pub", "keyring/shale/wg0.pub/x", "keyring/shale/fifo", "keyring/shale/evil.pub",
		"keyring/shale/same.pub", "keyring/shale/nothing.pub", "keyring/same", "keyring/same/wg0.pub", "keyring/same/none",
		"keyring/evil", "keyring/evil/secret", "vault", "vault/shale", "vault/shale/wg0.pub", "tunnels", "tunnels/wg0.toml",
		"../outside/secret",
	} {
		paths = append(paths, in(name))
	}
	return root, paths
}

// answers is what is said about a path: about a folder its entries, about a file its text.
func answers(root, path string, read func(root, path string, limit int64) ([]byte, error),
	list func(root, path string) ([]fs.DirEntry, error)) string {
	text, err := read(root, path, 64<<10)
	said := fmt.Sprintf("%d bytes %.100q, %v %v %v", len(text), text, err, errors.Is(err, fs.ErrNotExist),
		errors.Is(err, files.ErrOutside))
	entries, err := list(root, path)
	for _, e := range entries {
		said += fmt.Sprintf(", %s %v", e.Name(), e.Type())
	}
	return said + fmt.Sprintf(", %v %v %v", err, errors.Is(err, fs.ErrNotExist), errors.Is(err, files.ErrOutside))
}

// A snapshot, of all or nothing, says of every path what the disk says.
func TestSnapshotIsAsTheDisk(t *testing.T) {
	root, paths := newSeen(t)
	var none *files.Snapshot
	for name, s := range map[string]*files.Snapshot{"all": files.Take(root, "tunnels", "keyring", "vault"),
		"nothing": files.Take(root), "nil": none} {
		for _, path := range paths {
			want := answers(root, path, files.Read, files.List)
			if got := answers(root, path, s.Read, s.List); got != want {
				t.Errorf("snapshot of %s: %s: %s\nthe disk: %s", name, path, got, want)
			}
			_, err := os.Lstat(path)
			if exists := s.Exists(path); exists != !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("snapshot of %s: %s exists: %v; the disk: %v", name, path, exists, err)
			}
		}
	}
}

// What was read is not read again, what is in it is the caller's, and it is wiped.
func TestSnapshotReadsOnce(t *testing.T) {
	root, _ := newSeen(t)
	path := filepath.Join(root, "keyring/shale/wg0.pub")
	s := files.Take(root, "keyring")
	must(t, os.RemoveAll(filepath.Join(root, "keyring")))
	text, err := s.Read(root, path, 7)
	if err != nil || string(text) != "public\n" {
		t.Fatalf("%q, %v", text, err)
	}
	clear(text)
	kept, ok := s.Text(path)
	if !ok || string(kept) != "public\n" {
		t.Errorf("its own text is %q, %v", kept, ok)
	}
	if entries, ok := s.Entries(filepath.Join(root, "keyring/basalt")); !ok || len(entries) != 3 {
		t.Errorf("entries %v, %v", entries, ok)
	}
	s.Wipe()
	if strings.Trim(string(kept), "\x00") != "" {
		t.Errorf("wiped, it is %q", kept)
	}
	if _, err := s.Read(root, path, 7); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after that: %v", err)
	}
}

// Walk goes where [filepath.WalkDir] goes, and tells what lstat(2) tells.
func TestSnapshotWalk(t *testing.T) {
	root, _ := newSeen(t)
	must(t, os.Chmod(filepath.Join(root, "keyring/basalt/deep"), 0o777))
	must(t, os.Chmod(filepath.Join(root, "keyring/shale/wg0.pub"), 0o666))
	must(t, os.Chmod(filepath.Join(root, "keyring/basalt/larger"), 0o602))
	var want, got []string
	for _, top := range []string{"tunnels", "keyring", "vault"} {
		must(t, filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if info, err := os.Lstat(path); err == nil && d.Type()&fs.ModeSymlink == 0 {
				want = append(want, path+" "+info.Mode().String())
			}
			return err
		}))
	}
	files.Take(root, "tunnels", "keyring", "vault").Walk(func(at files.Place, mode fs.FileMode) {
		path := at.Path()
		got = append(got, path+" "+mode.String())
	})
	if !slices.Equal(got, want) || len(want) < 10 {
		t.Errorf("it goes to\n%s\nand is to go to\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

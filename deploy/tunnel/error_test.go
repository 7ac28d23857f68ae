package tunnel_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// TestErrors runs every archive in testdata/errors: a tunnel wg0 as its files,
// and in "want" what a person is told. A file "view" asks for the view of the
// host that it names, with the public keys of the hosts after it: "HOST=OTHER"
// gives HOST the key of OTHER.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.txtar")
	if err != nil || len(files) < 30 {
		t.Fatalf("found %d cases: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			section := func(name string) int {
				return slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == name })
			}
			var view []string
			if i := section("view"); i >= 0 {
				view = strings.Fields(string(archive.Files[i].Data))
			}
			got := explain(failure(t, archive, view))
			if i := section("want"); i >= 0 {
				archive.Files[i].Data = got
			} else {
				archive.Files = append(archive.Files, txtar.File{Name: "want", Data: got})
			}
			golden(t, file, txtar.Format(archive))
		})
	}
}

// failure returns the error of parsing the tunnel, or of deriving the view.
func failure(t *testing.T, archive *txtar.Archive, view []string) error {
	t.Helper()
	tun, err := tunnel.Parse(folder(archive), "wg0")
	if err == nil && len(view) > 0 {
		keys := map[string]keyring.PublicKey{}
		for _, k := range view[1:] {
			host, seed, ok := strings.Cut(k, "=")
			if !ok {
				seed = host
			}
			keys[host] = publicKey(t, seed)
		}
		_, err = tun.View(view[0], keys)
	}
	if err == nil {
		t.Fatal("no error")
	}
	return err
}

// explain returns err and its hints as the command prints them.
func explain(err error) []byte {
	var b strings.Builder
	for line := range strings.Lines(err.Error() + "\n") {
		b.WriteString("error: " + line)
	}
	for _, hint := range fault.Hints(err) {
		b.WriteString("hint: " + hint + "\n")
	}
	return []byte(b.String())
}

func TestNoSuchTunnel(t *testing.T) {
	fsys := archiveFS("-- wg0.toml --\n-- wg1.txt --\n-- .hidden.toml --\n-- wg0.d/x.toml --\n")
	names, err := tunnel.List(fsys)
	if err != nil || !slices.Equal(names, []string{"wg0"}) {
		t.Errorf("List = %q, %v", names, err)
	}
	_, err = tunnel.Parse(fsys, "wg1")
	const want = `no such tunnel "wg1": tunnels/wg1.toml: file does not exist`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if hints := fault.Hints(err); !errors.Is(err, fs.ErrNotExist) ||
		!slices.Equal(hints, []string{"did you mean -t wg0?"}) {
		t.Errorf("got %v, %q", err, hints)
	}
	const noName = "an interface's name is letters, digits and _ = + . -"
	if _, err := tunnel.Parse(fsys, "../wg0"); err == nil || !strings.Contains(err.Error(), noName) {
		t.Errorf("a path as the name of a tunnel: %v", err)
	}
	if _, err := tunnel.List(archiveFS("-- wg0 copy.toml --\n")); err == nil || !strings.Contains(err.Error(), noName) {
		t.Errorf("a file with a space: %v", err)
	}
	if names, err := tunnel.List(archiveFS("")); err != nil || len(names) != 0 {
		t.Errorf("List = %q, %v", names, err)
	}
}

func archiveFS(text string) fs.FS { return folder(txtar.Parse([]byte(text))) }

// folder returns the files of the archive as a folder.
func folder(archive *txtar.Archive) fs.FS {
	fsys := fstest.MapFS{}
	for _, f := range archive.Files {
		fsys[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return fsys
}

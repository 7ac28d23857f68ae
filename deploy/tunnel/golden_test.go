package tunnel_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

var update = flag.Bool("update", false, "write the golden files again")

// publicKey returns a public key that depends on seed alone.
func publicKey(t testing.TB, seed string) keyring.PublicKey {
	t.Helper()
	scalar := sha256.Sum256([]byte(seed))
	private, err := ecdh.X25519().NewPrivateKey(scalar[:])
	if err != nil {
		t.Fatal(err)
	}
	return keyring.PublicKey(private.PublicKey().Bytes())
}

func publicKeys(t testing.TB, names []string) map[string]keyring.PublicKey {
	keys := make(map[string]keyring.PublicKey, len(names))
	for _, name := range names {
		keys[name] = publicKey(t, name)
	}
	return keys
}

// nextKeys are those that the hosts of these names are changing to.
func nextKeys(t testing.TB, names []string) map[string]keyring.PublicKey {
	keys := make(map[string]keyring.PublicKey, len(names))
	for _, name := range names {
		keys[name] = publicKey(t, name+", next")
	}
	return keys
}

func parse(t testing.TB, fsys fs.FS, name string) *tunnel.Tunnel {
	t.Helper()
	tun, err := tunnel.Parse(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	return tun
}

// golden compares got with the file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func encode(t testing.TB, v *tunnel.View) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tunnel.EncodeView(&b, v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGoldenViews(t *testing.T) {
	const views = "testdata/views"
	tests := []struct {
		name, dir string
		hosts     []string // those with golden files; nil: all
		next      []string // those in the middle of a rotation
	}{
		{name: "first-users", dir: "../../testdata/first-users/tunnels"},
		{name: "rotation", dir: "../../testdata/first-users/tunnels", next: []string{"basalt"}},
		{name: "mesh", dir: views + "/mesh"},
		{name: "hub", dir: views + "/hub", hosts: []string{"hub", "spoke-01", "spoke-20"}},
		{name: "dual", dir: views + "/dual"},
		{name: "unmanaged", dir: views + "/unmanaged"},
		{name: "alone", dir: views + "/alone"},
		{name: "apart", dir: views + "/apart"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tun := parse(t, os.DirFS(test.dir), "wg0")
			keys := publicKeys(t, tun.Hosts())
			if test.hosts == nil {
				test.hosts = tun.Hosts()
			}
			for _, host := range test.hosts {
				v, err := tun.View(host, keys)
				if err := errors.Join(err, v.SetNext(nextKeys(t, test.next))); err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(views, test.name, host)
				golden(t, file+".json", encode(t, v))
				golden(t, file+".txt", []byte(v.Annotate()))
			}
			everyView(t, tun, keys, test.next...)
		})
	}
}

// everyView derives the view of every host: each is valid and comes back from
// its JSON as it was.
func everyView(t *testing.T, tun *tunnel.Tunnel, keys map[string]keyring.PublicKey, next ...string) {
	t.Helper()
	for _, host := range tun.Hosts() {
		v, err := tun.View(host, keys)
		if err := errors.Join(err, v.SetNext(nextKeys(t, next))); err != nil {
			t.Fatal(err)
		}
		if err := v.Validate(); err != nil {
			t.Fatalf("a derived view is not valid: %v", err)
		}
		text := encode(t, v)
		back, err := tunnel.ParseView(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if again := encode(t, back); !bytes.Equal(again, text) {
			t.Fatalf("%s\ncame back as\n%s", text, again)
		}
	}
}

package formats

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/draft"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
	"wgkeys/keyring"
)

// made returns a key in base64 derived from names, which nobody uses.
func made(names ...string) []byte {
	sum := sha256.Sum256([]byte(strings.Join(names, " and ")))
	sum[0] &= 248 // RFC 7748, section 5
	sum[31] = sum[31]&127 | 64
	return []byte(base64.StdEncoding.EncodeToString(sum[:]) + "\n")
}

func privateKey(t *testing.T, host string) keyring.PrivateKey {
	t.Helper()
	k, err := keyring.ParsePrivateKey(made(host))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func presharedKey(t *testing.T, a, b string) keyring.PresharedKey {
	t.Helper()
	k, err := keyring.ParsePresharedKey(made(min(a, b), max(a, b)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A trip exports a tunnel and imports it again.
type trip struct {
	*testing.T
	name  string
	text  string
	views []*tunnel.View // of the managed hosts
}

func newTrip(t *testing.T, path string) *trip {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "wg0.toml"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	tun, err := tunnel.Parse(os.DirFS(dir), "wg0")
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]keyring.PublicKey{}
	for _, h := range tun.Hosts() {
		keys[h] = privateKey(t, h).PublicKey()
	}
	tr := &trip{T: t, name: strings.TrimSuffix(filepath.Base(path), ".toml"), text: string(text)}
	for _, h := range tun.Hosts() {
		v, err := tun.View(h, keys)
		if err != nil {
			t.Fatal(err)
		}
		if !v.Unmanaged {
			tr.views = append(tr.views, v)
		}
	}
	return tr
}

// secrets returns the keys of a view.
func (tr *trip) secrets(v *tunnel.View) foreign.Secrets {
	s := foreign.Secrets{PrivateKey: privateKey(tr.T, v.Host), PresharedKeys: map[string]keyring.PresharedKey{}}
	for _, p := range v.Peers {
		if p.PresharedKeyFile != "" {
			s.PresharedKeys[p.Name] = presharedKey(tr.T, v.Host, p.Name)
		}
	}
	return s
}

// again returns the tunnel file of the imported export of all hosts, and what was left out.
func (tr *trip) again(f *Format, secret bool) string {
	tr.Helper()
	var devices []*foreign.Device
	for _, v := range tr.views {
		var s foreign.Secrets
		if secret {
			s = tr.secrets(v)
		}
		files, err := f.Write(v, s)
		if err != nil {
			return " refused: " + err.Error()
		}
		list, err := Parse(files, "", os.ReadFile)
		if err != nil || len(list) != 1 {
			tr.Fatalf("%d devices, %v of\n%s", len(list), err, files[0].Text)
		}
		tr.ownKeys(v, list[0])
		devices = append(devices, list[0])
	}
	d, err := draft.Make(devices)
	if err != nil {
		tr.Fatalf("%s by %s: %v", tr.name, f.Name, err)
	}
	var b strings.Builder
	for _, l := range d.Left {
		b.WriteString("# left out: " + l.What + ": " + l.Why + "\n")
	}
	b.Write(d.Text)
	return b.String()
}

// ownKeys sets the keys of the files that a device names, as if they existed.
func (tr *trip) ownKeys(v *tunnel.View, d *foreign.Device) {
	d.Host = v.Host
	if d.PrivateKeyFile == v.PrivateKeyFile {
		d.PrivateKey = privateKey(tr.T, v.Host)
	}
	for i := range d.Peers {
		p := &d.Peers[i]
		for _, q := range v.Peers {
			if q.PublicKey == p.PublicKey && p.PresharedKeyFile == q.PresharedKeyFile && p.PresharedKeyFile != "" {
				p.PresharedKey = presharedKey(tr.T, v.Host, q.Name)
			}
		}
	}
}

// TestTrips: a tunnel file that is exported to a format and imported again is the same byte
// for byte, except for what testdata/trips.golden lists. The guide (wgkeys help moving)
// says why.
func TestTrips(t *testing.T) {
	paths, err := filepath.Glob("testdata/trips/*.toml")
	if err != nil || len(paths) < 5 {
		t.Fatal(err, paths)
	}
	var b strings.Builder
	for _, path := range paths {
		tr := newTrip(t, path)
		for i := range all {
			f := &all[i]
			if f.Parse == nil || f.Write == nil {
				continue
			}
			for _, secret := range []bool{false, true} {
				with := "the key files"
				if secret {
					with = "the keys"
				}
				fmt.Fprintf(&b, "%s by %s with %s:%s\n", tr.name, f.Name, with, changes(tr.text, tr.again(f, secret)))
			}
		}
	}
	foreigntest.Golden(t, "testdata/trips.golden", b.String())
}

// changes returns the lines that only one of two texts has, or "the same" if they are equal
// byte for byte.
func changes(want, got string) string {
	switch {
	case got == want:
		return " the same"
	case strings.HasPrefix(got, " refused"):
		return got
	}
	var b strings.Builder
	only := func(mark, text, other string) {
		have := strings.Split(other, "\n")
		for line := range strings.SplitSeq(text, "\n") {
			if i := slices.Index(have, line); i >= 0 {
				have = slices.Delete(have, i, i+1)
			} else {
				b.WriteString("\n" + mark + line)
			}
		}
	}
	only("\t- ", want, got)
	only("\t+ ", got, want)
	if b.Len() == 0 {
		return " the lines in another order\n" + got
	}
	return b.String()
}

// TestFirstUsers: the first users' two files become their tunnel file, except for comments
// and the address for ssh.
func TestFirstUsers(t *testing.T) {
	const dir = "../../../testdata/first-users/"
	var devices []*foreign.Device
	for _, host := range []string{"shale", "basalt"} {
		list, err := Parse(foreigntest.Files(t, dir+"ifupdown/"+host), "", os.ReadFile)
		if err != nil {
			t.Fatal(err)
		}
		list[0].Host = host
		devices = append(devices, list...)
	}
	d, err := draft.Make(devices)
	if err != nil || len(d.Left) > 0 {
		t.Fatal(err, d.Left)
	}
	want, err := os.ReadFile("testdata/trips/first-users.toml")
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile("(?m)^#.*\n")
	if got := comment.ReplaceAllString(string(d.Text), ""); got != string(want) {
		t.Errorf("got\n%s", got)
	}
	short, theirs := newTrip(t, "testdata/trips/first-users.toml"), newTrip(t, dir+"tunnels/wg0.toml")
	for i, v := range theirs.views {
		if x, y := encoded(t, short.views[i]), encoded(t, v); x != y {
			t.Errorf("%s: got\n%s\nwant\n%s", v.Host, x, y)
		}
	}
}

func encoded(t *testing.T, v *tunnel.View) string {
	t.Helper()
	var b strings.Builder
	if err := tunnel.EncodeView(&b, v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

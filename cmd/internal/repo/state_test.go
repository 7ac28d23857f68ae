package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// newTestRepo is a repository with one tunnel of two hosts, and the settings.
func newTestRepo(t *testing.T, settings string) *Repo {
	t.Helper()
	dir := t.TempDir()
	recipient, err := vault.NewIdentity(filepath.Join(dir, "identity.txt"), false, time.Unix(0, 0))
	write := func(name, text string) error {
		path := filepath.Join(dir, "net", name)
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644))
	}
	if err := errors.Join(err, write(Marker, settings), write("vault/recipients.txt", recipient+"\n"),
		os.MkdirAll(filepath.Join(dir, "net/keyring"), 0o755),
		write("tunnels/wg0.toml",
			"[hosts.shale]\nendpoint = \"192.0.2.1\"\n[hosts.basalt]\naddresses = [\"10.0.0.2/32\"]\n")); err != nil {
		t.Fatal(err)
	}
	r, err := openRepo(filepath.Join(dir, "net"), []byte(settings))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// seal makes a key of a host: file by file, as a rotation does.
func (r *Repo) seal(t *testing.T, host, tunnel string, made time.Time) keyring.PublicKey {
	t.Helper()
	k, err := keyring.GeneratePrivateKey()
	if err := errors.Join(err, r.Vault.SealKey(host, vault.KeyFile(tunnel), k, made),
		r.Ring.Put(host, tunnel, k.PublicKey())); err != nil {
		t.Fatal(err)
	}
	return k.PublicKey()
}

// files are all of the vault and the keyring, by path.
func (r *Repo) files(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range []string{r.Vault.Dir, r.Ring.Dir} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			all[path] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// moved is files after a rename.
func moved(files map[string]string, from, to string) map[string]string {
	after := maps.Clone(files)
	after[to] = files[from]
	delete(after, from)
	return after
}

// TestFinishNext: stopped at any rename, finishNext leaves one of the states that
// it knows, and another call ends where an undisturbed one does.
func TestFinishNext(t *testing.T) {
	for _, onHost := range []bool{false, true} {
		r := newTestRepo(t, "")
		r.seal(t, "basalt", "wg0", time.Now())
		next := r.seal(t, "basalt", "wg0.next", time.Now())
		key, nextKey := r.Vault.Path("basalt", "wg0.key"), r.Vault.Path("basalt", "wg0.next.key")
		pub, nextPub := r.Ring.Path("basalt", "wg0"), r.Ring.Path("basalt", "wg0.next")
		if onHost {
			if err := r.Vault.RemoveKey("basalt", "wg0.next.key"); err != nil {
				t.Fatal(err)
			}
		}
		begun := r.files(t)
		between := moved(begun, nextKey, key)
		if onHost {
			between = maps.Clone(begun)
			delete(between, key)
		}
		over := moved(between, nextPub, pub)

		for name, stop := range map[string]struct {
			at    string // cannot be replaced
			leave map[string]string
		}{"private": {key, begun}, "public": {pub, between}, "none": {"", over}} {
			r.restore(t, begun)
			err := r.blocked(t, stop.at, func() error { return r.Promote("basalt", "wg0", undisturbed) })
			if (err == nil) != (stop.at == "") {
				t.Errorf("stopped at the %s key's rename: %v", name, err)
			}
			if diff := cmp.Diff(stop.leave, r.files(t)); diff != "" {
				t.Errorf("stopped at the %s key's rename:\n%s", name, diff)
			}
			for range 2 { // the second has nothing to do
				if err := r.Promote("basalt", "wg0", undisturbed); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(over, r.files(t)); diff != "" {
					t.Errorf("finished after a stop at the %s key's rename:\n%s", name, diff)
				}
			}
		}
		if k, err := r.Ring.Get("basalt", "wg0"); err != nil || k != next {
			t.Errorf("the key is %v, %v", k, err)
		}
	}
}

// undisturbed takes a step.
func undisturbed(_ string, do func() error) error { return do() }

// restore makes the files be these.
func (r *Repo) restore(t *testing.T, files map[string]string) {
	t.Helper()
	for path := range r.files(t) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// blocked calls do while nothing can take path's place, nor remove it: a folder
// with something in it is there.
func (r *Repo) blocked(t *testing.T, path string, do func() error) error {
	t.Helper()
	if path == "" {
		return do()
	}
	aside := path + ".aside"
	if err := errors.Join(os.Rename(path, aside), os.MkdirAll(path+"/full", 0o755)); err != nil {
		t.Fatal(err)
	}
	err := do()
	if err := errors.Join(os.RemoveAll(path), os.Rename(aside, path)); err != nil {
		t.Fatal(err)
	}
	return err
}

// TestFinishNextRefuses: what does not belong together stays as it is.
func TestFinishNextRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(r *Repo) error
		want string
	}{
		{"two next keys", func(r *Repo) error { return r.swapNext("wg1") }, "two next keys for host basalt"},
		{"a next key cut short", func(r *Repo) error {
			return os.Truncate(r.Vault.Path("basalt", "wg0.next.key"), 100)
		}, "cut short"},
		{"a next public key that is none", func(r *Repo) error {
			return os.Truncate(r.Ring.Path("basalt", "wg0.next"), 9)
		}, "bad-length"},
		{"no next public key", func(r *Repo) error { return os.Remove(r.Ring.Path("basalt", "wg0.next")) },
			"never brought to a host"},
	} {
		r := newTestRepo(t, "")
		for _, name := range []string{"wg0", "wg0.next", "wg1"} {
			r.seal(t, "basalt", name, time.Now())
		}
		if err := test.make(r); err != nil {
			t.Fatal(err)
		}
		before := r.files(t)
		err := r.Promote("basalt", "wg0", undisturbed)
		if err == nil || !strings.Contains(err.Error(), test.want) || len(fault.Hints(err)) == 0 {
			t.Errorf("%s: %v, hints %q", test.name, err, fault.Hints(err))
		}
		if diff := cmp.Diff(before, r.files(t)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// swapNext puts another tunnel's public key in the place of the next one.
func (r *Repo) swapNext(from string) error {
	text, err := os.ReadFile(r.Ring.Path("basalt", from))
	return errors.Join(err, os.WriteFile(r.Ring.Path("basalt", "wg0.next"), text, 0o644))
}

// TestViewOfHalfARotation: where the vault says that a rotation is over its key is
// the present one in all views; without the vault both are reported.
func TestViewDuringRotation(t *testing.T) {
	r := newTestRepo(t, "")
	old, shale := r.seal(t, "basalt", "wg0", time.Now()), r.seal(t, "shale", "wg0", time.Now())
	next := r.seal(t, "basalt", "wg0.next", time.Now())
	tun, err := tunnel.Parse(r.Tunnels(), "wg0")
	if err != nil {
		t.Fatal(err)
	}
	keys := func() string {
		v, err := r.View(tun, "shale")
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Validate(); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(v.PublicKey == shale, v.Peers[0].PublicKey == old, v.Peers[0].PublicKey == next,
			v.Peers[0].NextPublicKey == next)
	}
	if got := keys(); got != "true true false true" {
		t.Errorf("under way: %s", got)
	}
	if err := r.Vault.Promote("basalt", "wg0"); err != nil {
		t.Fatal(err)
	}
	if got := keys(); got != "true false true false" {
		t.Errorf("over in the vault: %s", got)
	}
	if err := os.RemoveAll(r.Vault.Dir); err != nil {
		t.Fatal(err)
	}
	if got := keys(); got != "true true false true" {
		t.Errorf("without the vault: %s", got)
	}
}

// TestDue: the vault's metadata tells the age of a key, and no clock but the
// argument is looked at.
func TestDue(t *testing.T) {
	made := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		settings string
		after    time.Duration
		want     string
	}{
		{"", 1e6 * time.Hour, ""},
		{`max_key_age = "30d"`, 30 * Day, ""},
		{`max_key_age = "30d"`, 30*Day + 1, "basalt"},
		{`max_key_age = "720h"`, 30*Day + 1, "basalt"},
		{`max_key_age = "30d"`, 29*Day + 365*Day, "basalt"},
		{`max_key_age = "30d"`, 31*Day + 365*Day, "basalt shale"},
		{`max_key_age = "30d"`, -time.Hour, ""},
	} {
		r := newTestRepo(t, test.settings)
		r.seal(t, "shale", "wg0", made.AddDate(1, 0, 0))
		r.seal(t, "basalt", "wg0", made)
		r.seal(t, "flint", "wg0", made) // of no tunnel
		keys, err := r.Due(made.Add(test.after))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range keys {
			got = append(got, k.Host)
			if k.Tunnel != "wg0" {
				t.Errorf("%v", k)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s, %v later: %q are due", test.settings, test.after, got)
		}
	}
}

// TestDueWhereBegun: a rotation that was interrupted is due.
func TestDueWhereBegun(t *testing.T) {
	r := newTestRepo(t, `max_key_age = "30d"`)
	r.seal(t, "shale", "wg0", time.Now())
	r.seal(t, "basalt", "wg0", time.Now())
	r.seal(t, "basalt", "wg0.next", time.Now())
	keys, err := r.Due(time.Now())
	if err != nil || len(keys) != 1 || keys[0].Host != "basalt" {
		t.Errorf("%v are due, %v", keys, err)
	}
}

// TestSettings: wgkeys.toml is read as strictly as a tunnel file.
func TestSettings(t *testing.T) {
	for _, test := range []struct {
		text string
		age  time.Duration
		err  string
	}{
		{text: "# nothing\n"},
		{text: `max_key_age = "365d"`, age: 365 * Day},
		{text: `max_key_age = "36h30m"`, age: 36*time.Hour + 30*time.Minute},
		{text: "# a\nmax_age = \"365d\"", err: `net/wgkeys.toml:2": unknown key "max_age"`},
		{text: "max_key_ages = \"365d\"", err: `net/wgkeys.toml:1": unknown key "max_key_ages": did you mean "max_key_age"?`},
		{text: "a = 1\n\n[b]\nc = 2", err: `net/wgkeys.toml:3"`},
		{text: "\nmax_key_age = \"0d\"", err: `net/wgkeys.toml:2": `},
		{text: "\nmax_key_age = \"-1d\"", err: "want days or hours above 0"},
		{text: "\nmax_key_age = \"-1h\"", err: "want days or hours above 0"},
		{text: "\nmax_key_age = \"1.5d\"", err: "want days or hours above 0"},
		{text: "\nmax_key_age = \"99999999d\"", err: "want days or hours above 0"},
		{text: "\nmax_key_age = \"\"", err: "want days or hours above 0"},
		{text: "\nmax_key_age = 365", err: `net/wgkeys.toml:2": `},
		{text: "\nmax_key_age = \"1d\"\nmax_key_age = \"1d\"", err: `net/wgkeys.toml:3": `},
		{text: "\nmax_key_age = ", err: `net/wgkeys.toml:2": `},
		{text: "max_key_age = 365d", err: `net/wgkeys.toml:1": a number has no unit, and a text is in quotes`},
		{text: "max_key_age = \"365d\n", err: `net/wgkeys.toml:1": the text has no quotation mark at its end`},
		{text: "max_key_age: \"365d\"", err: "separated by ="},
	} {
		s, err := parseSettings("net", []byte(test.text))
		switch {
		case test.err == "" && (err != nil || s.MaxKeyAge.Duration != test.age):
			t.Errorf("%q: %v, %v", test.text, s.MaxKeyAge.Duration, err)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%q: %v, want %s", test.text, err, test.err)
		case test.err != "" && len(fault.Hints(err)) == 0:
			t.Errorf("%q: no hint", test.text)
		}
	}
}

package vault

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

var (
	made   = time.Date(2026, 1, 2, 15, 4, 5, 999, time.FixedZone("", 3600))
	madeAt = time.Date(2026, 1, 2, 14, 4, 5, 0, time.UTC)
)

// newVault returns a vault with one recipient and its identity.
func newVault(t testing.TB, postQuantum bool) (Vault, *Identities) {
	t.Helper()
	dir := t.TempDir()
	v := Vault{Dir: filepath.Join(dir, "vault")}
	path := filepath.Join(dir, "identity.txt")
	recipient, err := NewIdentity(path, postQuantum, made)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(v.Dir, "recipients.txt"), "# alice\n"+recipient+"\n")
	return v, FindIdentities(Place{path, "-i", true})
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readTestFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func newKey(t testing.TB) keyring.PrivateKey {
	t.Helper()
	k, err := keyring.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newPSK(t testing.TB) keyring.PresharedKey {
	t.Helper()
	k, err := keyring.GeneratePresharedKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sealKey seals a new private key and returns it.
func sealKey(t testing.TB, v Vault, host, file string) keyring.PrivateKey {
	t.Helper()
	k := newKey(t)
	if err := v.SealKey(host, file, k, made); err != nil {
		t.Fatal(err)
	}
	return k
}

// snapshot returns all that is in the vault: names, modes and content.
func snapshot(t testing.TB, v Vault) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(v.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = info.Mode().String() + " " + string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRoundTrip(t *testing.T) {
	for _, postQuantum := range []bool{false, true} {
		v, ids := newVault(t, postQuantum)
		k, psk := newKey(t), newPSK(t)
		if err := v.SealKey("shale", "wg0.next.key", k, made); err != nil {
			t.Fatal(err)
		}
		if err := v.SealPSK("shale", "wg0.basalt.psk", psk, made); err != nil {
			t.Fatal(err)
		}
		rs, err := v.Recipients("shale")
		if err != nil {
			t.Fatal(err)
		}
		want := Meta{Version: 1, Host: "shale", File: "wg0.key", PublicKey: k.PublicKey(),
			Created: madeAt, Recipients: rs.Fingerprints()}
		m, err := v.Meta("shale", "wg0.next.key")
		if diff := cmp.Diff(want, m); diff != "" || err != nil {
			t.Errorf("Meta of the private key: %v\n%s", err, diff)
		}
		want.File, want.PublicKey, want.PSK = "wg0.basalt.psk", keyring.PublicKey{}, psk.Fingerprint()
		m, err = v.Meta("shale", "wg0.basalt.psk")
		if diff := cmp.Diff(want, m); diff != "" || err != nil {
			t.Errorf("Meta of the PSK: %v\n%s", err, diff)
		}
		got, err := v.OpenKey("shale", "wg0.next.key", k.PublicKey(), ids)
		if err != nil || got.Key() != k.Key() {
			t.Errorf("OpenKey: %v", err)
		}
		gotPSK, err := v.OpenPSK("shale", "wg0.basalt.psk", psk.Fingerprint(), ids)
		if err != nil || !gotPSK.Equal(psk) {
			t.Errorf("OpenPSK: %v", err)
		}
	}
}

func TestList(t *testing.T) {
	v, _ := newVault(t, false)
	if hosts, err := v.Hosts(); err != nil || len(hosts) != 0 {
		t.Errorf("no host yet: %q, %v", hosts, err)
	}
	sealKey(t, v, "shale", "wg0.key")
	sealKey(t, v, "basalt", "wg1.key")
	sealKey(t, v, "basalt", "wg0.next.key")
	if err := v.SealPSK("basalt", "wg0.shale.psk", newPSK(t), made); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(v.Dir, "basalt", "recipients.txt"), "")
	writeFile(t, filepath.Join(v.Dir, "basalt", ".wg0.key.age.123"), "left behind")
	writeFile(t, filepath.Join(v.Dir, "basalt", "notes.age"), "not ours")
	writeFile(t, filepath.Join(v.Dir, ".git", "config"), "")
	hosts, err := v.Hosts()
	if diff := cmp.Diff([]string{"basalt", "shale"}, hosts); diff != "" || err != nil {
		t.Errorf("Hosts: %v\n%s", err, diff)
	}
	files, err := v.List("basalt")
	if diff := cmp.Diff([]string{"wg0.next.key", "wg0.shale.psk", "wg1.key"}, files); diff != "" || err != nil {
		t.Errorf("List: %v\n%s", err, diff)
	}
	if files, err := v.List("granite"); err != nil || len(files) != 0 {
		t.Errorf("List of a host without a folder: %q, %v", files, err)
	}
}

func TestSealNeverOverwrites(t *testing.T) {
	v, _ := newVault(t, false)
	sealKey(t, v, "shale", "wg0.key")
	before := snapshot(t, v)
	err := v.SealKey("shale", "wg0.key", newKey(t), made)
	if !errors.Is(err, fs.ErrExist) || !strings.HasSuffix(fault.Hints(err)[0],
		"/wg0.key.age and its public key in keyring/shale/, then wgkeys gen shale") {
		t.Errorf("the second seal: %v, hints %q", err, fault.Hints(err))
	}
	if diff := cmp.Diff(before, snapshot(t, v)); diff != "" {
		t.Error(diff)
	}
}

// TestLinks: no link in the repository has a key written or read outside of it.
func TestLinks(t *testing.T) {
	v, ids := newVault(t, false)
	outside := t.TempDir()
	k := sealKey(t, v, "shale", "wg0.key")
	if err := os.Symlink(outside, filepath.Join(v.Dir, "evil")); err != nil {
		t.Fatal(err)
	}
	assertFault(t, v.SealKey("evil", "wg0.key", newKey(t), made), files.ErrOutside,
		filepath.Join(v.Dir, "evil", "recipients.txt"), "")
	if err := os.Rename(v.Path("shale", "wg0.key"), filepath.Join(outside, "wg0.key.age")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "wg0.key.age"), v.Path("shale", "wg0.key")); err != nil {
		t.Fatal(err)
	}
	_, err := v.OpenKey("shale", "wg0.key", k.PublicKey(), ids)
	assertFault(t, err, files.ErrOutside, v.Path("shale", "wg0.key"), "")
	if err := os.Rename(v.Dir, filepath.Join(outside, "vault")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "vault"), v.Dir); err != nil {
		t.Fatal(err)
	}
	if err := v.SealKey("basalt", "wg0.key", newKey(t), made); !errors.Is(err, files.ErrOutside) {
		t.Errorf("a vault that is elsewhere: %v", err)
	}
	if _, err := v.Hosts(); !errors.Is(err, files.ErrOutside) {
		t.Errorf("its hosts: %v", err)
	}
	if _, err := os.Stat(filepath.Join(outside, "vault", "basalt")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written there: %v", err)
	}
}

func TestSealMode(t *testing.T) {
	v, _ := newVault(t, false)
	sealKey(t, v, "shale", "wg0.key")
	entries, err := os.ReadDir(filepath.Join(v.Dir, "shale"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("the folder holds %v, %v", entries, err)
	}
	info, err := entries[0].Info()
	if err != nil || info.Name() != "wg0.key.age" || info.Mode() != 0o600 {
		t.Errorf("%s has mode %v, %v", info.Name(), info.Mode(), err)
	}
}

func TestSealRace(t *testing.T) {
	v, ids := newVault(t, false)
	keys := make([]keyring.PrivateKey, 16)
	errs := make([]error, len(keys))
	var wg sync.WaitGroup
	for i := range keys {
		keys[i] = newKey(t)
		wg.Go(func() { errs[i] = v.SealKey("shale", "wg0.key", keys[i], made) })
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		switch {
		case err == nil && won >= 0:
			t.Errorf("%d and %d won", won, i)
		case err == nil:
			won = i
		case !errors.Is(err, fs.ErrExist):
			t.Error(err)
		}
	}
	if won < 0 {
		t.Fatal("nobody won")
	}
	if _, err := v.OpenKey("shale", "wg0.key", keys[won].PublicKey(), ids); err != nil {
		t.Errorf("the file is not the winner's: %v", err)
	}
	if got := len(snapshot(t, v)); got != 2 {
		t.Errorf("%d files, want recipients.txt and the key", got)
	}
}

// TestSealFails: whatever fails, the vault is as before.
func TestSealFails(t *testing.T) {
	v, _ := newVault(t, false)
	sealKey(t, v, "shale", "wg0.key")
	for _, test := range []struct {
		name string
		seal func() error
		want string
	}{
		{"no key", func() error { return v.SealKey("shale", "wg1.key", keyring.PrivateKey{}, made) }, "wg1.key"},
		{"no PSK", func() error { return v.SealPSK("shale", "wg1.x.psk", keyring.PresharedKey{}, made) }, "wg1.x.psk"},
		{"a key as PSK", func() error { return v.SealKey("shale", "wg1.x.psk", newKey(t), made) }, "TUNNEL.key"},
		{"a PSK as key", func() error { return v.SealPSK("shale", "wg1.key", newPSK(t), made) }, "TUNNEL.PEER.psk"},
		{"another folder", func() error { return v.SealKey("../shale", "wg1.key", newKey(t), made) }, "../shale"},
		{"another file", func() error { return v.SealKey("shale", "../wg1.key", newKey(t), made) }, "../wg1.key"},
		{"an option", func() error { return v.SealKey("-shale", "wg1.key", newKey(t), made) }, "-shale"},
		{"a hidden file", func() error { return v.SealKey("shale", ".key", newKey(t), made) }, ".key"},
		{"a space", func() error { return v.SealKey("sha le", "wg1.key", newKey(t), made) }, "sha le"},
		{"a newline", func() error { return v.SealKey("shale", "wg1\n.key", newKey(t), made) }, `wg1\n.key`},
		{"a long name", func() error { return v.SealKey(strings.Repeat("a", 64), "wg1.key", newKey(t), made) }, "aaa"},
		{"a long file", func() error { return v.SealKey("shale", strings.Repeat("a", 125)+".key", newKey(t), made) }, "aaa"},
		{"upper case", func() error { return v.SealKey("Shale", "wg1.key", newKey(t), made) }, "Shale"},
		{"a dot", func() error { return v.SealKey("shale.example", "wg1.key", newKey(t), made) }, "shale.example"},
		{"the year 10000", func() error { return v.SealKey("shale", "wg1.key", newKey(t), made.AddDate(8000, 0, 0)) },
			"RFC 3339"},
		{"the year -1", func() error { return v.SealKey("shale", "wg1.key", newKey(t), made.AddDate(-3000, 0, 0)) },
			"RFC 3339"},
		{"a file for a folder", func() error {
			return v.SealKey("recipients.txt", "wg1.key", newKey(t), made)
		}, "recipients.txt"},
	} {
		before := snapshot(t, v)
		err := test.seal()
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v does not name %q", test.name, err, test.want)
		}
		if _, ok := errors.AsType[*fault.Fault](err); !ok {
			t.Errorf("%s: %T is no fault", test.name, err)
		}
		if diff := cmp.Diff(before, snapshot(t, v)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestSealTooManyRecipients(t *testing.T) {
	v, _ := newVault(t, false)
	var lines strings.Builder
	for range 700 {
		_, recipient, err := generate(false)
		if err != nil {
			t.Fatal(err)
		}
		lines.WriteString(recipient + "\n")
	}
	writeFile(t, filepath.Join(v.Dir, "recipients.txt"), lines.String())
	before := snapshot(t, v)
	err := v.SealKey("shale", "wg0.key", newKey(t), made)
	if err == nil || !strings.Contains(err.Error(), "too many recipients: with 700") {
		t.Errorf("700 recipients: %v", err)
	}
	if diff := cmp.Diff(before, snapshot(t, v)); diff != "" {
		t.Error(diff)
	}
}

// TestImports: the vault knows nothing of hosts and how they are reached, and
// nothing below it knows age.
func TestImports(t *testing.T) {
	deps := func(pkg string) string {
		out, err := exec.Command("go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if list := deps("wgkeys/vault"); strings.Contains(list, "wgkeys/deploy") ||
		!strings.Contains(list, "wgkeys/keyring\n") || !strings.Contains(list, "filippo.io/age\n") {
		t.Errorf("package vault depends on\n%s", list)
	}
	if list := deps("wgkeys/keyring/..."); strings.Contains(list, "filippo.io/age") {
		t.Errorf("package keyring depends on\n%s", list)
	}
}

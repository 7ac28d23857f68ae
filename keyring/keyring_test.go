package keyring

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

func mustPublic(t *testing.T) PublicKey {
	t.Helper()
	k, err := GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k.PublicKey()
}

func TestGenerate(t *testing.T) {
	a, err := GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	if a.Key() == b.Key() {
		t.Error("two private keys are the same")
	}
	again, err := ParsePrivateKey(a.File())
	if err != nil || again.Key() != a.Key() {
		t.Errorf("a generated key does not come back from its file: %v", err)
	}
	if _, err := ParsePublicKey([]byte(a.PublicKey().String())); err != nil {
		t.Errorf("a generated key has no valid public key: %v", err)
	}
}

func TestPresharedKey(t *testing.T) {
	a, err := GeneratePresharedKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := GeneratePresharedKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParsePresharedKey(a.File())
	if err != nil {
		t.Fatal(err)
	}
	var none PresharedKey
	for _, test := range []struct {
		name string
		k, l PresharedKey
		want bool
	}{
		{"itself", a, a, true},
		{"read again", a, again, true},
		{"another", a, b, false},
		{"none", a, none, false},
		{"none first", none, a, false},
		{"both none", none, none, true},
	} {
		if got := test.k.Equal(test.l); got != test.want {
			t.Errorf("%s: Equal is %v", test.name, got)
		}
	}
	if !none.IsZero() || a.IsZero() {
		t.Error("IsZero is wrong")
	}
}

// TestFingerprint holds the shell to the word of the comment: a host without our
// program has to come to the same fingerprint.
func TestFingerprint(t *testing.T) {
	k, err := GeneratePresharedKey()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "wg0.basalt.psk")
	if err := os.WriteFile(path, k.File(), 0o600); err != nil {
		t.Fatal(err)
	}
	sh := exec.Command("sh", "-c", `{ echo wgkeys psk; cat "$1"; } | sha256sum`, "sh", path)
	out, err := sh.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := strings.Cut(string(out), " "); got != k.Fingerprint() {
		t.Errorf("Fingerprint is %s, in the shell %s", k.Fingerprint(), got)
	}
}

func TestPublicKeyJSON(t *testing.T) {
	want := mustPublic(t)
	text, err := json.Marshal(want)
	if err != nil || string(text) != `"`+want.String()+`"` {
		t.Fatalf("json.Marshal: %s, %v", text, err)
	}
	var got PublicKey
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("json.Unmarshal: %v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`"AAAA"`), &got); !errors.Is(err, ErrLength) || got != want {
		t.Errorf("a bad text changed the key to %v, %v", got, err)
	}
}

func TestRing(t *testing.T) {
	r := Ring{Dir: filepath.Join(t.TempDir(), "keyring")}
	keys, err := r.Load("wg0")
	if err != nil || len(keys) != 0 {
		t.Errorf("no keyring yet: %v, %v", keys, err)
	}
	want := map[string]PublicKey{"shale": mustPublic(t), "basalt": mustPublic(t)}
	for host, k := range want {
		if err := r.Put(host, "wg0", k); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Put("shale", "wg1", mustPublic(t)); err != nil {
		t.Fatal(err)
	}
	// What else lies in a repository is passed over.
	os.MkdirAll(filepath.Join(r.Dir, ".git"), 0o755)
	os.MkdirAll(filepath.Join(r.Dir, "granite"), 0o755)
	os.WriteFile(filepath.Join(r.Dir, "README"), []byte("about\n"), 0o644)
	keys, err = r.Load("wg0")
	if diff := cmp.Diff(want, keys); diff != "" || err != nil {
		t.Errorf("Load: %v\n%s", err, diff)
	}
	text, err := os.ReadFile(r.Path("shale", "wg0"))
	if err != nil || string(text) != want["shale"].String()+"\n" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

func TestRingErrors(t *testing.T) {
	r := Ring{Dir: t.TempDir()}
	if _, err := r.Get("shale", "wg0"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "shale") {
		t.Errorf("no key: %v", err)
	}
	path := r.Path("shale", "wg0")
	os.MkdirAll(path, 0o755)
	if _, err := r.Get("shale", "wg0"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a folder: %v", err)
	}
	os.Remove(path)
	os.WriteFile(path, []byte("nonsense\n"), 0o644)
	for door, err := range map[string]error{
		"Get":  errOf(r.Get("shale", "wg0")),
		"Load": errOf(r.Load("wg0")),
	} {
		if !errors.Is(err, ErrLength) || !strings.Contains(err.Error(), path) || len(fault.Hints(err)) != 1 {
			t.Errorf("%s of nonsense: %v, hints %q", door, err, fault.Hints(err))
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

// A link in the repository has nothing read or written outside of it.
func TestRingLinks(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	r := Ring{Dir: filepath.Join(dir, "keyring")}
	if err := r.Put("shale", "wg0", mustPublic(t)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(r.Dir, "evil")); err != nil {
		t.Fatal(err)
	}
	if err := r.Put("evil", "wg0", mustPublic(t)); !errors.Is(err, files.ErrOutside) {
		t.Errorf("Put: %v", err)
	}
	if err := os.WriteFile(filepath.Join(outside, "wg0.pub"), []byte(mustPublic(t).String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get("evil", "wg0"); !errors.Is(err, files.ErrOutside) {
		t.Errorf("Get: %v", err)
	}
	elsewhere := Ring{Dir: filepath.Join(t.TempDir(), "keyring")}
	if err := os.Symlink(r.Dir, elsewhere.Dir); err != nil {
		t.Fatal(err)
	}
	if keys, err := elsewhere.Load("wg0"); !errors.Is(err, files.ErrOutside) {
		t.Errorf("Load: %v, %v", keys, err)
	}
}

func TestCheckFile(t *testing.T) {
	for p, want := range map[string]bool{
		"/etc/wireguard/wg0.key": true, "/a b": true, "/schlüssel": true, "/" + strings.Repeat("x", 1023): true,
		"": false, "wg0.key": false, "/": false, "/etc/": false, "/etc//x": false, "/etc/../x": false, "/a ": false,
		"/a\tb": false, "/a\n": false, "/a\x00": false, "/a\xff": false, "/\u202egro.txt": false,
		"/" + strings.Repeat("x", 1024): false,
	} {
		if err := CheckFile(p); (err == nil) != want {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func TestCheckHost(t *testing.T) {
	for name, want := range map[string]bool{
		"shale": true, "spoke-01": true, "a_b": true, "0": true, "_x": true, strings.Repeat("a", 63): true,
		"": false, "-x": false, "A": false, "aB": false, "a.b": false, "a b": false, "ä": false, "..": false, "a/b": false,
		"a\xff": false, strings.Repeat("a", 64): false,
	} {
		if err := CheckHost(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestPutNeverOverwrites(t *testing.T) {
	r := Ring{Dir: t.TempDir()}
	first := mustPublic(t)
	if err := r.Put("shale", "wg0", first); err != nil {
		t.Fatal(err)
	}
	if err := r.Put("shale", "wg0", mustPublic(t)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the second Put: %v", err)
	}
	if got, err := r.Get("shale", "wg0"); err != nil || got != first {
		t.Errorf("the key is %v, was %v: %v", got, first, err)
	}
}

func TestPutRace(t *testing.T) {
	r := Ring{Dir: t.TempDir()}
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		k := mustPublic(t)
		wg.Go(func() { errs[i] = r.Put("shale", "wg0", k) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d won", won, len(errs))
	}
	if _, err := r.Get("shale", "wg0"); err != nil {
		t.Error(err)
	}
}

// TestPromoteNext: the key that a rotation is changing to lies beside the present
// one, is not taken for it, and then takes its place.
func TestPromoteNext(t *testing.T) {
	r := Ring{Dir: filepath.Join(t.TempDir(), "keyring")}
	old, next := mustPublic(t), mustPublic(t)
	if err := errors.Join(r.Put("basalt", "wg0", old), r.Put("shale", "wg0", old)); err != nil {
		t.Fatal(err)
	}
	if err := r.Put("basalt", Next("wg0"), next); err != nil {
		t.Fatal(err)
	}
	if k, err := r.Get("basalt", "wg0"); err != nil || k != old {
		t.Errorf("the present key is %v, %v", k, err)
	}
	if k, err := r.Next("basalt", "wg0"); err != nil || k != next {
		t.Errorf("the next key is %v, %v", k, err)
	}
	all, err := r.Load(Next("wg0"))
	if diff := cmp.Diff(map[string]PublicKey{"basalt": next}, all); diff != "" || err != nil {
		t.Errorf("all next keys: %v\n%s", err, diff)
	}
	if err := r.Promote("basalt", "wg0"); err != nil {
		t.Fatal(err)
	}
	all, err = r.Load("wg0")
	if diff := cmp.Diff(map[string]PublicKey{"basalt": next, "shale": old}, all); diff != "" || err != nil {
		t.Errorf("all keys after it: %v\n%s", err, diff)
	}
	if _, err := r.Next("basalt", "wg0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the next key is still there: %v", err)
	}
}

func TestIsNext(t *testing.T) {
	if !IsNext(Next("wg0")) || IsNext("wg0") || IsNext("next") {
		t.Error("IsNext is wrong")
	}
}

// TestPromoteNothing: where there is no next key, or what is no key, the present one stays.
func TestPromoteNothing(t *testing.T) {
	r := Ring{Dir: filepath.Join(t.TempDir(), "keyring")}
	old := mustPublic(t)
	if err := errors.Join(r.Put("basalt", "wg0", old), r.Put("shale", "wg0", old)); err != nil {
		t.Fatal(err)
	}
	if err := r.Promote("basalt", "wg0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a next key: %v", err)
	}
	if err := os.WriteFile(r.Path("shale", Next("wg0")), []byte("cut sh"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Promote("shale", "wg0"); !errors.Is(err, ErrLength) {
		t.Errorf("what is no key: %v", err)
	}
	for _, host := range []string{"basalt", "shale"} {
		if k, err := r.Get(host, "wg0"); err != nil || k != old {
			t.Errorf("something took the place of the key of %s: %v, %v", host, k, err)
		}
	}
}

// TestHoldsKey: a key is found within other text, and a path is none.
func TestHoldsKey(t *testing.T) {
	key := strings.Repeat("k3Y/", 10) + "k3Y="
	for text, want := range map[string]bool{
		key: true, "x" + key + "y": true, "/etc/" + key: true, "a=" + key: true, key[:43]: false, key[1:]: false,
		"/home/anna/Documents/wireguard/configurations/wg0.conf": false, "": false, "a = b": false,
	} {
		if HoldsKey(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

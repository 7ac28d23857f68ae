package vault

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// stock encrypts text as any age program does: no metadata.
func stock(t testing.TB, v Vault, host, text string) string {
	t.Helper()
	rs, err := v.Recipients(host)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, rs[0].age)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text)
	if err := errors.Join(w.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// forge encrypts text under metadata that need not be true.
func forge(t testing.TB, v Vault, m Meta, text []byte) string {
	t.Helper()
	rs, labels, err := v.Lists().labelled(m.Host)
	if err != nil {
		t.Fatal(err)
	}
	m.Created = made
	file, err := encrypt(m, text, rs, labels)
	if err != nil {
		t.Fatal(err)
	}
	return string(file)
}

func rearmor(t testing.TB, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	a.Write(b)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestOpenFails puts something else where shale's wg0.key should be.
func TestOpenFails(t *testing.T) {
	v, ids := newVault(t, false)
	k, other := sealKey(t, v, "shale", "wg0.key"), sealKey(t, v, "basalt", "wg0.key")
	sealKey(t, v, "shale", "wg1.key")
	next := sealKey(t, v, "shale", "wg0.next.key").PublicKey()
	path := v.Path("shale", "wg0.key")
	good := readTestFile(t, path)
	bin, err := dearmor([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	meta := Meta{Host: "shale", File: "wg0.key", PublicKey: k.PublicKey()}
	theirs := Meta{Host: "shale", File: "wg0.key", PublicKey: other.PublicKey()}
	psk := bytes.Repeat([]byte("/"), 42)

	for _, test := range []struct {
		name, text string
		err        error
		want       string
	}{
		{"empty", "", errDamaged, "empty"},
		{"too large", good + strings.Repeat("\n", maxFile), errDamaged, "larger than 64 KiB"},
		{"a key in the clear", string(k.File()), errDamaged, "in the clear"},
		{"a key in the clear, with spaces", "  " + string(k.File()) + "\r\n", errDamaged, "in the clear"},
		{"an identity", "AGE-SECRET-KEY-1QQQQ\n", errDamaged, "not an age file"},
		{"a conflict of git", "<<<<<<< HEAD\n" + good, files.ErrConflict, "conflict markers"},
		{"a pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n", errDamaged, "Git LFS"},
		{"a pointer of git-annex", "/annex/objects/SHA256E-s12--abc\n", errDamaged, "git-annex"},
		{"a blob of git-crypt", "\x00GITCRYPT\x00abcdefghijkl", errDamaged, "git-crypt has encrypted it"},
		{"no header", armor.Header + "\n" + armor.Footer + "\n", errDamaged, "header is cut short"},
		{"armor cut short", good[:len(good)/2], errDamaged, "armor is cut short"},
		{"armor with a tail", good + "tail", errDamaged, "armor is cut short"},
		{"a carriage return inside", strings.Replace(good, "YWdl", "Y\rWdl", 1), errDamaged, "armor"},
		{"header cut short", rearmor(t, bin[:100]), errDamaged, "header is cut short"},
		{"content cut short", rearmor(t, bin[:len(bin)-1]), errDamaged, "content is cut short"},
		{"content with a tail", rearmor(t, append(bytes.Clone(bin), 0)), errDamaged, "content is cut short"},
		{"metadata moved to another host", strings.Replace(string(bin), " shale ", " slate ", 1), errMismatch,
			"wg0.key of slate"},
		{"metadata with another time", strings.Replace(string(bin), "2026-01-02", "2026-01-03", 1), errDamaged,
			"header was changed"},
		{"metadata not canonical", strings.Replace(string(bin), "05Z", "05.0Z", 1), errDamaged, "spelled"},
		{"metadata of version 2", strings.Replace(string(bin), "wgkeys 1", "wgkeys 2", 1), errDamaged, "version"},
		{"metadata dropped", strings.Replace(string(bin), "-> wgkeys", "-> grease", 1), errDamaged, "header was changed"},
		{"another host's file", readTestFile(t, v.Path("basalt", "wg0.key")), errMismatch, "wg0.key of basalt"},
		{"another file of the host", readTestFile(t, v.Path("shale", "wg1.key")), errMismatch, "wg1.key of shale"},
		{"the next key before its time", readTestFile(t, v.Path("shale", "wg0.next.key")), errMismatch,
			"it is for the public key " + next.String()},
		{"a next key that says so", forge(t, v, Meta{Host: "shale", File: "wg0.next.key", PublicKey: k.PublicKey()},
			k.File()), errMismatch, "wg0.next.key of shale"},
		{"another key", forge(t, v, theirs, other.File()), errMismatch, other.PublicKey().String()},
		{"the key under another's metadata", forge(t, v, theirs, k.File()), errMismatch, "it is for the public key " +
			other.PublicKey().String()},
		{"another key under the right name", forge(t, v, meta, other.File()), errMismatch, other.PublicKey().String()},
		{"another key from stock age", stock(t, v, "shale", string(other.File())), errMismatch, other.PublicKey().String()},
		{"a key that is not clamped", forge(t, v, meta, append(psk, "8=\n"...)), errMismatch, "not-clamped"},
		{"no key", forge(t, v, meta, []byte("nothing\n")), errMismatch, "bad-length"},
		{"nothing", forge(t, v, meta, nil), errMismatch, "bad-length"},
		{"more than a key", forge(t, v, meta, bytes.Repeat(k.File(), 2)), errMismatch, "more than a key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			writeFile(t, path, test.text)
			before := snapshot(t, v)
			got, err := v.OpenKey("shale", "wg0.key", k.PublicKey(), ids)
			assertFault(t, err, test.err, path, test.want)
			if !got.IsZero() {
				t.Error("it hands out a key with the error")
			}
			for _, secret := range []keyring.PrivateKey{k, other} {
				if err != nil && strings.Contains(err.Error(), string(secret.File()[:8])) {
					t.Errorf("%v shows the key", err)
				}
			}
			if diff := cmp.Diff(before, snapshot(t, v)); diff != "" {
				t.Error(diff)
			}
		})
	}
	writeFile(t, path, good)
	if _, err := v.OpenKey("shale", "wg0.key", k.PublicKey(), ids); err != nil {
		t.Errorf("the file itself: %v", err)
	}
	_, err = v.OpenKey("shale", "wg0.key", other.PublicKey(), ids)
	assertFault(t, err, errMismatch, path, other.PublicKey().String())
	_, err = v.OpenKey("shale", "wg0.key", keyring.PublicKey{}, ids)
	assertFault(t, err, errMismatch, path, "")
}

// assertFault checks that err is a fault that is want, names the file and says
// what it should.
func assertFault(t *testing.T, err, want error, path, text string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok || f.File != path {
		t.Errorf("%v does not name %s", err, path)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("%v does not say %q", err, text)
	}
}

func TestOpenNotAFile(t *testing.T) {
	v, ids := newVault(t, false)
	path := v.Path("shale", "wg0.key")
	want := newKey(t).PublicKey()
	_, err := v.OpenKey("shale", "wg0.key", want, ids)
	assertFault(t, err, fs.ErrNotExist, path, "no such file")
	if hints := fault.Hints(err); len(hints) != 1 || hints[0] != "wgkeys gen shale" {
		t.Errorf("hints %q", hints)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = v.OpenKey("shale", "wg0.key", want, ids)
	assertFault(t, err, errDamaged, path, "not a regular file")
	os.Remove(path)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = v.Meta("shale", "wg0.key") // must not block
	assertFault(t, err, errDamaged, path, "not a regular file")
}

// TestEveryBit: no bit of a vault file can be flipped, and no byte cut off its
// end, without being noticed.
// A file that may not be read is not damaged: it is another's, in a checkout that
// several share.
func TestOpenForbidden(t *testing.T) {
	v, ids := newVault(t, false)
	k := sealKey(t, v, "shale", "wg0.key")
	path := v.Path("shale", "wg0.key")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the file system takes this thread alone for nobody's
	defer runtime.UnlockOSThread()
	defer unix.Setfsuid(os.Geteuid())
	if err := unix.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	_, err := v.OpenKey("shale", "wg0.key", k.PublicKey(), ids)
	assertFault(t, err, fs.ErrPermission, path, "permission denied")
	assertHint(t, err, "ls -l "+path)
	if errors.Is(err, errDamaged) {
		t.Errorf("it is damaged: %v", err)
	}
}

func TestEveryBit(t *testing.T) {
	v, ids := newVault(t, false)
	k := sealKey(t, v, "shale", "wg0.key")
	path := v.Path("shale", "wg0.key")
	bin, err := dearmor([]byte(readTestFile(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(bin))
	if _, err := v.OpenKey("shale", "wg0.key", k.PublicKey(), ids); err != nil {
		t.Fatalf("a binary file: %v", err)
	}
	refused := func(what string, n int, b []byte) {
		writeFile(t, path, string(b))
		_, err := v.OpenKey("shale", "wg0.key", k.PublicKey(), ids)
		if !errors.Is(err, errDamaged) && !errors.Is(err, errMismatch) && !errors.Is(err, ErrNoIdentity) {
			t.Fatalf("%s %d: %v", what, n, err)
		}
	}
	for i := range bin {
		for bit := range 8 {
			b := bytes.Clone(bin)
			b[i] ^= 1 << bit
			refused("bit", 8*i+bit, b)
		}
		refused("length", i, bin[:i])
	}
}

func TestOpenStock(t *testing.T) {
	v, ids := newVault(t, false)
	k, psk := newKey(t), newPSK(t)
	writeFile(t, v.Path("shale", "wg0.key"), stock(t, v, "shale", string(k.File())))
	writeFile(t, v.Path("shale", "wg0.basalt.psk"), stock(t, v, "shale", string(psk.File())))
	if got, err := v.OpenKey("shale", "wg0.key", k.PublicKey(), ids); err != nil || got.Key() != k.Key() {
		t.Error(err)
	}
	if got, err := v.OpenPSK("shale", "wg0.basalt.psk", psk.Fingerprint(), ids); err != nil || !got.Equal(psk) {
		t.Error(err)
	}
	_, err := v.OpenPSK("shale", "wg0.basalt.psk", newPSK(t).Fingerprint(), ids)
	assertFault(t, err, errMismatch, v.Path("shale", "wg0.basalt.psk"), psk.Fingerprint())
	_, err = v.OpenPSK("shale", "wg0.basalt.psk", "", ids)
	assertFault(t, err, errMismatch, v.Path("shale", "wg0.basalt.psk"), "")
	_, err = v.Meta("shale", "wg0.key")
	assertFault(t, err, ErrNoMeta, v.Path("shale", "wg0.key"), "")
}

func TestOpenPSKFails(t *testing.T) {
	v, ids := newVault(t, false)
	psk, other := newPSK(t), newPSK(t)
	path := v.Path("shale", "wg0.basalt.psk")
	m := Meta{Host: "shale", File: "wg0.basalt.psk", PSK: psk.Fingerprint()}
	theirs := Meta{Host: "shale", File: "wg0.basalt.psk", PSK: other.Fingerprint()}
	for _, test := range []struct{ name, text, want string }{
		{"another", forge(t, v, m, other.File()), other.Fingerprint()},
		{"the PSK under another's metadata", forge(t, v, theirs, psk.File()), "it is for the preshared key " +
			other.Fingerprint()},
		{"zero", forge(t, v, m, []byte(strings.Repeat("A", 43)+"=\n")), "zero"},
		{"more", forge(t, v, m, bytes.Repeat(psk.File(), 3)), "more than a key"},
	} {
		writeFile(t, path, test.text)
		_, err := v.OpenPSK("shale", "wg0.basalt.psk", psk.Fingerprint(), ids)
		assertFault(t, err, errMismatch, path, test.want)
	}
	os.Remove(path)
	if err := v.SealPSK("shale", "wg0.basalt.psk", psk, made); err != nil {
		t.Fatal(err)
	}
	_, err := v.OpenPSK("shale", "wg0.basalt.psk", other.Fingerprint(), ids)
	assertFault(t, err, errMismatch, path, psk.Fingerprint())
}

func TestNoIdentity(t *testing.T) {
	v, _ := newVault(t, true)
	k := sealKey(t, v, "shale", "wg0.key")
	_, recipient, err := generate(true)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bob := filepath.Join(dir, "bob.txt")
	if _, err := NewIdentity(bob, false, made); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none.txt")
	ids := FindIdentities(Place{bob, "-i", true}, Place{none, "the default of sops", false})
	rs, err := v.Recipients("shale")
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.OpenKey("shale", "wg0.key", k.PublicKey(), ids)
	assertFault(t, err, ErrNoIdentity, v.Path("shale", "wg0.key"), "encrypted to alice ("+rs[0].at()+")")
	for _, want := range []string{bob + " (-i): one identity", none + " (the default of sops): no such file"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	// alice leaves: the file is still encrypted to her, and says so.
	writeFile(t, filepath.Join(v.Dir, "recipients.txt"), recipient+"\n")
	_, err = v.OpenKey("shale", "wg0.key", k.PublicKey(), FindIdentities())
	assertFault(t, err, ErrNoIdentity, v.Path("shale", "wg0.key"), rs[0].Fingerprint.String())
	if !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("%v does not say that it looked nowhere", err)
	}
}

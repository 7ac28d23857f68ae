package vault

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// TestPromote: the end of a rotation is a rename. What is in place then is, byte
// for byte, what was sealed as the next key, and opens as the present one.
func TestPromote(t *testing.T) {
	v, ids := newVault(t, false)
	sealKey(t, v, "shale", "wg0.key")
	sealKey(t, v, "basalt", "wg0.key")
	next := sealKey(t, v, "shale", "wg0.next.key")
	want := snapshot(t, v)
	path := v.Path("shale", "wg0.next.key")
	want[v.Path("shale", "wg0.key")] = want[path]
	delete(want, path)
	if err := v.Promote("shale", "wg0"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, snapshot(t, v)); diff != "" {
		t.Error(diff)
	}
	k, err := v.OpenKey("shale", "wg0.key", next.PublicKey(), ids)
	if err != nil || k.Key() != next.Key() {
		t.Errorf("it does not open as the present key: %v", err)
	}
	m, err := v.Meta("shale", "wg0.key")
	if err != nil || m.File != "wg0.key" || m.PublicKey != next.PublicKey() {
		t.Errorf("Meta: %+v, %v", m, err)
	}
	if err := v.Promote("shale", "wg0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("twice: %v", err)
	}
}

// TestPromoteRefuses: the old key is gone after it, so what takes its place has
// to be whole, and to be the one that belongs there.
func TestPromoteRefuses(t *testing.T) {
	v, _ := newVault(t, false)
	sealKey(t, v, "shale", "wg0.key")
	sealKey(t, v, "basalt", "wg0.next.key")
	k := sealKey(t, v, "shale", "wg0.next.key")
	path := v.Path("shale", "wg0.next.key")
	good := readTestFile(t, path)
	for _, test := range []struct {
		name, text string
		err        error
	}{
		{"empty", "", errDamaged},
		{"cut short", good[:len(good)/2], errDamaged},
		{"in the clear", string(k.File()), errDamaged},
		{"another host's", readTestFile(t, v.Path("basalt", "wg0.next.key")), errMismatch},
		{"of stock age", stock(t, v, "shale", string(k.File())), ErrNoMeta},
	} {
		writeFile(t, path, test.text)
		before := snapshot(t, v)
		assertFault(t, v.Promote("shale", "wg0"), test.err, path, "")
		if diff := cmp.Diff(before, snapshot(t, v)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	if err := v.Promote("../shale", "wg0"); err == nil {
		t.Error("another folder is taken")
	}
}

func TestSealNextTwice(t *testing.T) {
	v, _ := newVault(t, false)
	sealKey(t, v, "shale", "wg0.next.key")
	err := v.SealKey("shale", "wg0.next.key", newKey(t), made)
	assertFault(t, err, fs.ErrExist, v.Path("shale", "wg0.next.key"), "")
	assertHint(t, err, "wgkeys rotate shale finishes the rotation that is under way")
	_, err = v.OpenKey("basalt", "wg0.next.key", keyring.PublicKey{}, nil)
	assertHint(t, err, "wgkeys rotate basalt")
}

func assertHint(t *testing.T, err error, want string) {
	t.Helper()
	if hints := fault.Hints(err); !slices.Contains(hints, want) {
		t.Errorf("%v: the hints are %q", err, hints)
	}
}

func TestRemoveKey(t *testing.T) {
	v, _ := newVault(t, false)
	sealKey(t, v, "shale", "wg0.key")
	want := snapshot(t, v)
	sealKey(t, v, "basalt", "wg0.key")
	for range 2 { // the second has nothing to do
		if err := v.RemoveKey("basalt", "wg0.key"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, snapshot(t, v)); diff != "" {
			t.Error(diff)
		}
	}
	for _, names := range [][2]string{{"../shale", "wg0.key"}, {"shale", "../shale/wg0.key"},
		{"shale", "recipients.txt"}} {
		if err := v.RemoveKey(names[0], names[1]); err == nil {
			t.Errorf("%q is taken", names)
		}
	}
	if diff := cmp.Diff(want, snapshot(t, v)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(v.Dir, "basalt")); err != nil {
		t.Errorf("the folder may hold recipients.txt, and has to stay: %v", err)
	}
}

// TestReplacePSKMode: who could read the preshared key of a shared repository can read the
// next one.
func TestReplacePSKMode(t *testing.T) {
	v, _ := newVault(t, false)
	v.Shared = 0o640
	const file = "wg0.basalt.psk"
	if err := v.SealPSK("shale", file, newPSK(t), time.Now()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		info, err := os.Stat(v.Path("shale", file))
		if err != nil || info.Mode().Perm() != 0o640 {
			t.Fatalf("%v, %v", info.Mode(), err)
		}
		if err := v.ReplacePSK("shale", file, newPSK(t), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

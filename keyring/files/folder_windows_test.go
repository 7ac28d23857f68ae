package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"
)

// TestSecretList: a secret file is for its owner alone, and takes nothing from its folder.
func TestSecretList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := Replace(path, strings.NewReader("x"), Replacement{Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	d, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		t.Fatal(err)
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := d.DACL()
	if err != nil || list == nil {
		t.Fatal(d, err)
	}
	for i := range list.AceCount {
		var of *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(list, uint32(i), &of); err != nil {
			t.Fatal(err)
		}
		whose := (*windows.SID)(unsafe.Pointer(&of.SidStart))
		// The system itself may do all anyway.
		if !whose.Equals(user.User.Sid) && !whose.IsWellKnown(windows.WinLocalSystemSid) {
			t.Errorf("%s; only %s is to have it", d, user.User.Sid)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "x" {
		t.Errorf("%q, %v", text, err)
	}
}

// TestLocks: a lock is held until it is given back, and what is locked can be read.
func TestLocks(t *testing.T) {
	dir := t.TempDir()
	unlock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); err != ErrLocked {
		t.Errorf("a folder that is locked: %v", err)
	}
	unlock()
	if unlock, err = Lock(dir); err != nil {
		t.Fatal(err)
	}
	unlock()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var open [2]*os.File
	for i := range open {
		if open[i], err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
			t.Fatal(err)
		}
		defer open[i].Close()
	}
	if err := TryLock(open[0]); err != nil {
		t.Fatal(err)
	}
	if err := TryLock(open[1]); err != ErrLocked {
		t.Errorf("a file that is locked: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "x" {
		t.Errorf("%q, %v", text, err)
	}
	open[0].Close()
	if err := TryLock(open[1]); err != nil {
		t.Error(err)
	}
}

// TestCreateOnce: what is there stays.
func TestCreateOnce(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "vault", "shale", "wg0.key.age")
	for i, want := range []bool{true, false} {
		if err := Create(root, path, []byte{byte('a' + i)}, 0o600); (err == nil) != want {
			t.Error(err)
		}
		b, err := NewBatch(root, filepath.Join(root, "vault"))
		if err != nil {
			t.Fatal(err)
		}
		other := filepath.Join(root, "vault", "basalt", "wg0.key.age")
		if err := b.Add(other, []byte{byte('a' + i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(); (err == nil) != want {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		for _, p := range []string{path, other} {
			if text, err := Read(root, p, 10); err != nil || string(text) != "a" {
				t.Errorf("%s: %q, %v", p, text, err)
			}
			if entries, _ := os.ReadDir(filepath.Dir(p)); len(entries) != 1 {
				t.Errorf("%v is in the folder", entries)
			}
		}
	}
}

package revoked

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/keyring"
)

// TestList: what was replaced, by what in the end, and what is never to come back; also
// where a folder cannot be written, and a line was cut short.
func TestList(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	dirs = []string{first, second}
	k := func(n byte) keyring.PublicKey { return keyring.PublicKey{n, 7} }
	add := func(old, next keyring.PublicKey) {
		t.Helper()
		if err := Add(old, next); err != nil {
			t.Fatal(err)
		}
	}
	add(k(1), k(2))
	add(k(1), k(2))
	add(k(2), k(3))
	if err := os.WriteFile(filepath.Join(second, name), []byte(k(7).String()+"\n"+k(8).String()), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(first, name)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(k(9).String()[:20])
	f.Close()
	add(k(4), keyring.PublicKey{})
	add(k(5), k(6)) // two hosts swap their keys
	add(k(6), k(5))
	l, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	if by, ok := l.By(k(1)); !ok || by != k(3) {
		t.Errorf("1 was replaced by %v, %v", by, ok)
	}
	for n, stolen := range map[byte]bool{1: false, 3: false, 4: true, 7: true, 8: false, 9: false} {
		if l.Stolen(k(n)) != stolen {
			t.Errorf("%d stolen: %v", n, !stolen)
		}
	}
	for _, n := range []byte{3, 4, 5, 6} {
		if by, ok := l.By(k(n)); ok {
			t.Errorf("%d was replaced by %v", n, by)
		}
	}
	if err := Allow(k(1), k(4)); err != nil {
		t.Fatal(err)
	}
	if l, err = Read(); err != nil {
		t.Fatal(err)
	}
	if _, ok := l.By(k(1)); ok || !l.Stolen(k(4)) {
		t.Error("allowed is not what was to be")
	}
}

// TestTrim: the oldest go first, and what was stolen stays.
func TestTrim(t *testing.T) {
	dirs = []string{t.TempDir()}
	path := filepath.Join(dirs[0], name)
	line := keyring.PublicKey{2, 7}.String() + " " + keyring.PublicKey{3, 7}.String() + "\n"
	text := keyring.PublicKey{1, 7}.String() + "\n" + keyring.PublicKey{4, 7}.String() + " " + keyring.PublicKey{5,
		7}.String() + "\n" + strings.Repeat(line, mostBytes/len(line)+1)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Add(keyring.PublicKey{6, 7}, keyring.PublicKey{7, 7}); err != nil {
		t.Fatal(err)
	}
	l, err := Read()
	info, _ := os.Stat(path)
	_, oldest := l.By(keyring.PublicKey{4, 7})
	_, newest := l.By(keyring.PublicKey{6, 7})
	if err != nil || info.Size() > mostBytes*3/4 || !l.Stolen(keyring.PublicKey{1, 7}) || oldest || !newest {
		t.Errorf("%v: %d bytes, oldest there: %v, newest: %v", err, info.Size(), oldest, newest)
	}
}

package former

import (
	"os"
	"path/filepath"
	"testing"

	"wgkeys/keyring/files"
)

// TestMovedBack: what is put aside comes back with its mode, what somebody put in its place
// stays, and so does a file that somebody has changed since a part of it was put aside.
func TestMovedBack(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "wg0.conf")
	m := Moved{From: at, To: filepath.Join(dir, "aside")}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	write(at, "one")
	if err := files.Move(m.From, m.To); err != nil {
		t.Fatal(err)
	}
	r := &Record{Link: "wg0", Moved: []Moved{m}}
	if err := r.moveBack(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(at); string(text) != "one" {
		t.Fatal(string(text), err)
	}
	if err := r.moveBack(); err != nil { // it is back
		t.Fatal(err)
	}
	write(m.To, "one")
	write(at, "another")
	if err := r.InTheWay(); err == nil {
		t.Error("before anything is done nothing is said of another file")
	}
	if err := r.moveBack(); err == nil {
		t.Error("what somebody put there was replaced")
	}

	edited := filepath.Join(dir, "interfaces")
	e := Edited{edited, filepath.Join(dir, "copy"), sum("less")}
	r = &Record{Link: "wg0", Edited: []Edited{e}}
	write(e.Copy, "all")
	write(edited, "less, and a line of somebody's")
	if err := r.InTheWay(); err == nil {
		t.Error("before anything is done nothing is said of it")
	}
	if err := r.putBackEdits(); err == nil {
		t.Error("somebody's line was lost")
	}
	write(edited, "less")
	if err := r.putBackEdits(); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(edited); string(text) != "all" {
		t.Errorf("it is %q", text)
	}
	if err := r.putBackEdits(); err != nil {
		t.Fatal(err)
	}
}

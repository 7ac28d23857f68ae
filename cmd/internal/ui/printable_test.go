package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"wgkeys/keyring/fault"
)

var harms = map[string]string{
	"plain\tschlüssel 鍵\n": "plain\tschlüssel 鍵\n",
	"\x1b[2J\r\x07":        `\x1b[2J\x0d\x07`,
	"a\u202eb\u2066c":      `a\u202eb\u2066c`,
	"\u009b31m\x7f":        `\u009b31m\u007f`,
	"\u200b\ufeff\u00a0":   `\u200b\ufeff\u00a0`,
	"\U000e0041":           `\udb40\udc41`,
	"cut \xe2\x80":         `cut \xe2\x80`,
	"\xff\ufffd":           `\xff\ufffd`,
	`already \x1b`:         `already \x1b`,
	"":                     "",
}

func TestPrintable(t *testing.T) {
	for in, want := range harms {
		if got := Printable(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// The cuts of a stream are not those of its characters.
func TestScreen(t *testing.T) {
	for in, want := range harms {
		for size := 1; size < 6; size++ {
			var out bytes.Buffer
			s := &Screen{W: &out}
			for b := []byte(in); len(b) > 0; b = b[min(size, len(b)):] {
				if n, err := s.Write(b[:min(size, len(b))]); err != nil || n != min(size, len(b)) {
					t.Fatal(n, err)
				}
			}
			if err := s.Flush(); err != nil || out.String() != want {
				t.Errorf("%q, %d bytes at a time, becomes %q, want %q: %v", in, size, out.String(), want, err)
			}
		}
	}
	if _, err := (&Screen{W: failing{}}).Write([]byte("x")); err == nil {
		t.Error("an error of the writer is lost")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

// Nothing that the program says, by whatever door, reaches the terminal as it
// came.
func TestDoors(t *testing.T) {
	const evil = "\x1b[31m\u202e\U000e0041\u009b\x9b\x00\r"
	var out, errs bytes.Buffer
	u := &UI{Stdout: &out, Stderr: &errs, Verbose: true}
	u.Printf("%s\n", evil)
	u.Say("%s", evil)
	u.Warn(fault.New(evil, evil, evil, evil))
	u.finish(errors.New(evil))
	if err := u.JSON(map[string]string{evil: evil}); err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{out.String(), errs.String()} {
		if strings.ContainsFunc(said, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) ||
			strings.Count(said, `\x1b[31m\u202e`) == 0 {
			t.Errorf("said %q", said)
		}
	}
}

// JSON stays what it is.
func TestPrintableJSON(t *testing.T) {
	for in := range harms {
		want := []string{in, strings.ToValidUTF8(in, "\ufffd")}
		text, err := json.MarshalIndent(want, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		var first, second []string
		if err := json.Unmarshal(text, &first); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(Printable(string(text))), &second); err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if strings.Join(first, "\n") != strings.Join(second, "\n") {
			t.Errorf("%q became %q", first, second)
		}
	}
}

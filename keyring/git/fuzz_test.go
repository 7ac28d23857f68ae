package git

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

// FuzzBatch: of what git cat-file --batch says each object is whole, and comes once.
func FuzzBatch(f *testing.F) {
	f.Add([]byte("0a1b blob 3\nabc\n0a1c blob 0\n\n"))
	f.Add([]byte("0a1b blob -1\n"))
	f.Add([]byte("0a1b blob 9223372036854775807\nabc\n"))
	f.Add([]byte("0a1b missing\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		paths := []string{"a", "b"}
		n := 0
		err := readBatch(bufio.NewReader(bytes.NewReader(said)), paths, func(b Blob) error {
			if b.Path != paths[n] || !bytes.Contains(said, b.Text) {
				t.Errorf("%d is %s, %q", n, b.Path, b.Text)
			}
			n++
			return nil
		})
		if (err == nil) != (n == len(paths)) {
			t.Errorf("%d objects, %v", n, err)
		}
	})
}

// FuzzIndex: whatever git ls-files says, each entry is one of its lines.
func FuzzIndex(f *testing.F) {
	f.Add("H 100644 0a1b 0\ta\x00S 160000 0a1c 2\tb/c\x00")
	f.Add("\t\x00 \t \x00")
	f.Fuzz(func(t *testing.T, entries string) {
		x := &Index{top: "/nonexistent", entries: entries}
		for e := range x.all() {
			if !strings.Contains("\x00"+entries+"\x00", "\t"+e.name+"\x00") {
				t.Errorf("%q is not in it", e.name)
			}
		}
		names := x.Names()
		for _, missing := range x.NotCheckedOut("/nonexistent/b") {
			if !names[missing] {
				t.Errorf("%q is missing and not in it", missing)
			}
		}
	})
}

package stanza

import (
	"bufio"
	"bytes"
	"testing"

	"filippo.io/age"
)

// FuzzStanza: what is read of a plugin comes back byte for byte.
func FuzzStanza(f *testing.F) {
	for n := range 3 {
		var b bytes.Buffer
		Write(&b, &age.Stanza{Type: "file-key", Args: []string{"0", "x"}, Body: make([]byte, 48*n+n)})
		f.Add(b.Bytes())
	}
	f.Add([]byte("-> a\nYR\n"))
	f.Add([]byte("-> a\nYQ\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Read(bufio.NewReaderSize(bytes.NewReader(text), 64<<10))
		if err != nil {
			return
		}
		var out bytes.Buffer
		Write(&out, s)
		if !bytes.HasPrefix(text, out.Bytes()) {
			t.Errorf("%q comes back as %q", text, out.Bytes())
		}
	})
}

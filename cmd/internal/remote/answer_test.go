package remote

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestAfterGreeting: both ways to read an answer begin with its brace, and where there is
// none nothing is taken for one.
func TestAfterGreeting(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for said, want := range map[string]string{
		"{}\n": "{}\n", "": "", "Welcome\n\n{\"a\":1}\n{}": "{\"a\":1}\n{}", "no {brace\n": "", long + "\n{}": "{}",
		long: "", "\n\n{": "{", "half": "",
	} {
		got, err := io.ReadAll(newGreeted(iotest.OneByteReader(strings.NewReader(said))))
		if err != nil || string(got) != want {
			t.Errorf("%.20q: %.20q, %v", said, got, err)
		}
		if got := afterGreeting([]byte(said)); !bytes.Equal(got, []byte(want)) && (want != "" || string(got) != said) {
			t.Errorf("%.20q: %.20q", said, got)
		}
	}
}

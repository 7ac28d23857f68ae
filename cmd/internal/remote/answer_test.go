package remote

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestOwnWords: what is shown of a host begins where wgkeys does there; all of it is shown
// where that is not said.
func TestOwnWords(t *testing.T) {
	long := strings.Repeat("x", 2*longest)
	for said, want := range map[string]string{
		begins + "\n": "", "title" + begins + "\nplan\n": "plan\n",
		"Welcome\n\n" + begins + "\n" + begins + "\n": begins + "\n",
		"no such shell": "no such shell", "": "", long + begins + "\n": long + begins + "\n", begins + "\n" + long: long,
	} {
		var shown bytes.Buffer
		own := &ownWords{w: &shown}
		pieces := struct{ io.Reader }{strings.NewReader(said)}
		if _, err := io.CopyBuffer(struct{ io.Writer }{own}, pieces, make([]byte, 7)); err != nil {
			t.Errorf("%.20q: %v", said, err)
		}
		if own.flush(); shown.String() != want {
			t.Errorf("%.20q: %.20q", said, shown.String())
		}
	}
}

// TestAfterGreeting: both ways to read an answer begin with its brace, and where there is
// none nothing is taken for one.
func TestAfterGreeting(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for said, want := range map[string]string{
		"{}\n": "{}\n", "": "", "Welcome\n\n{\"a\":1}\n{}": "{\"a\":1}\n{}", "no {brace\n": "", long + "\n{}": "{}",
		long: "", "\n\n{": "{", "half": "",
		"{this}\nhost\n" + begins + "\n{}\n": "{}\n", "{\"a\":1}\ntitle" + begins + "\n\n{}": "{}",
		long + "\n" + begins + "\n{}": "{}",
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

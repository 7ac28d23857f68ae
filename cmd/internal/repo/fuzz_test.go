package repo

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// FuzzSettings: the settings are understood, or an error names the file and one of its
// lines; an age that is understood is written as it may be read.
func FuzzSettings(f *testing.F) {
	f.Add([]byte("max_key_age = \"365d\"\n"))
	f.Add([]byte("max_key_age = \"12h\" # twelve\n"))
	f.Add([]byte("max_key_age = 7\n"))
	f.Add([]byte("max_keyage = \"7d\"\n[more]\na = 1\n"))
	f.Add([]byte("\xff\xfem\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSettings("/repository", text)
		if err != nil {
			if !strings.Contains(err.Error(), "/repository/wgkeys.toml") {
				t.Errorf("no file is named: %v", err)
			}
			return
		}
		if s.MaxKeyAge.Duration == 0 {
			return
		}
		again, err := parseSettings("/repository", fmt.Appendf(nil, "max_key_age = %q\n", InDays(s.MaxKeyAge.Duration)))
		if err != nil || again != s || !bytes.Contains(text, []byte("max_key_age")) {
			t.Errorf("%v comes back as %v, %v", s, again, err)
		}
	})
}

package ifupdown

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/foreign"
)

// FuzzParse: nothing panics, and a private key anywhere in a file is in no error and in no
// value other than those for keys.
func FuzzParse(f *testing.F) {
	list, err := filepath.Glob("testdata/*/*")
	if err != nil {
		f.Fatal(err)
	}
	more, _ := filepath.Glob("testdata/corpus/*/*") // the pattern is one
	for _, name := range append(list, more...) {
		if text, err := os.ReadFile(name); err == nil {
			f.Add(string(text))
		}
	}
	const key = "gJ8yMxVnrFJpGBQ7QNhKpQ0Dc1Ah2nYzIu0sJxV4R0E="
	f.Add("iface w inet manual\n\tup wg set w private-key <(echo " + key + ")\n\t" + key + " 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		devices, err := Parse([]foreign.File{{Name: "f", Text: []byte(text)}})
		if err != nil {
			if strings.Contains(fullText(err), key[:20]) {
				t.Fatalf("the key is in the error: %v", err)
			}
			return
		}
		for _, d := range devices {
			for _, l := range d.Left {
				if strings.Contains(l.What+l.Why, key[:20]) {
					t.Fatalf("the key is in what is left: %+v", l)
				}
			}
			if strings.Contains(strings.Join(d.Comment, "\n"), key[:20]) {
				t.Fatalf("the key is in a comment: %q", d.Comment)
			}
		}
	})
}

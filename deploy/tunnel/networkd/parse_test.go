package networkd

import (
	"os"
	"path/filepath"
	"testing"

	"wgkeys/deploy/tunnel/foreign/foreigntest"
)

// TestCorpus: what real files say, and what of it is left out.
func TestCorpus(t *testing.T) {
	for _, group := range []string{"corpus", "cases"} {
		dirs, err := os.ReadDir(filepath.Join("testdata", group))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range dirs {
			if !d.IsDir() {
				continue
			}
			t.Run(d.Name(), func(t *testing.T) {
				dir := filepath.Join("testdata", group, d.Name())
				foreigntest.Golden(t, dir+".golden", foreigntest.Dump(Parse(foreigntest.Files(t, dir))))
			})
		}
	}
}

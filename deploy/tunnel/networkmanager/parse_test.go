package networkmanager

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
)

// TestCorpus: what real files say, and what of it is left out.
func TestCorpus(t *testing.T) {
	for _, group := range []string{"corpus", "cases"} {
		for _, f := range foreigntest.Files(t, filepath.Join("testdata", group)) {
			if !strings.HasSuffix(f.Name, ".nmconnection") {
				continue
			}
			t.Run(f.Name, func(t *testing.T) {
				foreigntest.Golden(t, filepath.Join("testdata", group, f.Name+".golden"),
					foreigntest.Dump(Parse([]foreign.File{f})))
			})
		}
	}
	if _, err := os.Stat("testdata/cases"); err != nil {
		t.Error(err)
	}
}

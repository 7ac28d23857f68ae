package netplan

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
	"wgkeys/deploy/tunnel/networkd"
)

// TestCorpus: what real files say, and what of it is left out.
func TestCorpus(t *testing.T) { foreigntest.GoldenEach(t, Parse, "testdata/corpus", "testdata/cases") }

// TestFiles: a file adds to those before it, but a file with a key of its own belongs to
// another host.
func TestFiles(t *testing.T) {
	foreigntest.Golden(t, "testdata/files.golden", foreigntest.Dump(Parse(foreigntest.Files(t, "testdata/files"))))
}

// TestGenerated: testdata/generated has what `netplan generate` of netplan 1.2.2 makes, for
// systemd-networkd, of the files of the corpus and of those that Format writes. It means
// the same.
func TestGenerated(t *testing.T) {
	dirs, err := os.ReadDir("testdata/generated")
	if err != nil || len(dirs) < 10 {
		t.Fatal(len(dirs), err)
	}
	for _, d := range dirs {
		t.Run(d.Name(), func(t *testing.T) {
			group, name, _ := strings.Cut(d.Name(), "-")
			text, err := os.ReadFile(filepath.Join("testdata", group, name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			want, err := networkd.Parse(foreigntest.Files(t, filepath.Join("testdata", "generated", d.Name())))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse([]foreign.File{{Name: name + ".yaml", Text: text}})
			if err != nil {
				t.Fatal(err)
			}
			if a, b := meanings(got), meanings(want); a != b {
				t.Errorf("read from the YAML\n%s\nread from what netplan makes of it\n%s", a, b)
			}
		})
	}
}

// meanings returns the meanings of devices by name, without what is left out, which differs
// between the formats.
func meanings(devices []*foreign.Device) string {
	var all []string
	for _, d := range devices {
		d.Left = nil
		all = append(all, foreigntest.MeaningOf(d))
	}
	slices.Sort(all)
	return strings.Join(all, "\n\n")
}

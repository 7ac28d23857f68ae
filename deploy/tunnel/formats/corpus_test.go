package formats

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/deploy/tunnel/draft"
	"wgkeys/deploy/tunnel/foreign"
)

var update = flag.Bool("update", false, "write the golden files again")

// maySecret finds the value of a key in any of the formats.
var maySecret = regexp.MustCompile(`(?im)^[#;\s]*(?:private[_-]?key|preshared[_-]?key|key|shared)\s*[:=]\s*"?([A-Za-z0-9+/]{12,}=?)`)

// TestCorpus: real files become the tunnel files beside them, or the errors there, without
// their secrets. Their hosts are called "host", and wg-quick's files wg0.conf, because some
// have names that no interface can have.
func TestCorpus(t *testing.T) {
	paths := corpus(t)
	taken := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.ToSlash(path)
		if filepath.Ext(path) == ".conf" {
			name = "wg0.conf" // wg-quick's interface is named after its file
		}
		got, ok := said(foreign.File{Name: name, Text: text})
		if ok {
			taken++
		}
		for _, m := range maySecret.FindAllSubmatch(text, -1) {
			if bytes.Contains(got, m[1]) {
				t.Errorf("%s: a secret of it is in what is said", path)
			}
		}
		golden := path + ".golden"
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s:\n%s", path, d)
		}
	}
	t.Logf("%d files, %d of them taken in", len(paths), taken)
}

// corpus returns the paths of the real files.
func corpus(t *testing.T) (paths []string) {
	err := filepath.WalkDir("testdata", func(path string, e fs.DirEntry, err error) error {
		if e != nil && e.Name() == "trips" {
			return fs.SkipDir // tunnel files
		}
		if err == nil && e.Type().IsRegular() && filepath.Ext(path) != ".golden" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) < 35 {
		t.Fatal(err, len(paths))
	}
	return paths
}

// said returns the result of importing a file.
func said(f foreign.File) (text []byte, ok bool) {
	var b bytes.Buffer
	devices, err := Parse([]foreign.File{f}, "", func(string) ([]byte, error) { return nil, errors.New("not here") })
	if err != nil {
		fmt.Fprintf(&b, "%v\n", err)
		return b.Bytes(), false
	}
	for _, d := range devices {
		if d.Host == "" {
			d.Host = "host"
		}
		made, err := draft.Make([]*foreign.Device{d})
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			return b.Bytes(), false
		}
		for _, l := range made.Left {
			fmt.Fprintf(&b, "# left out: line %d: %s: %s\n", l.Pos.Line, l.What, l.Why)
		}
		b.Write(made.Text)
	}
	return b.Bytes(), true
}

package tunnel_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/pelletier/go-toml/v2"
	"github.com/rogpeppe/go-internal/txtar"

	"wgkeys/deploy/tunnel"
)

// FuzzParse holds that no file makes the parser panic, and that what it accepts
// is TOML to go-toml's own decoder and yields valid views for all hosts. Its seeds are the files of the golden tests.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/views/*/wg0.toml", "../../testdata/first-users/tunnels/wg0.toml"} {
		for _, file := range glob(f, pattern) {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text, []byte("[hosts.onyx]\naddresses = [\"2001:db8::99\"]\n"))
		}
	}
	for _, file := range glob(f, "testdata/errors/*.txtar") {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data, archive.Files[1].Data)
	}
	f.Fuzz(func(t *testing.T, main, dropin []byte) {
		tun, err := tunnel.Parse(fstest.MapFS{
			"wg0.toml":      {Data: main},
			"wg0.d/10.toml": {Data: dropin},
		}, "wg0")
		if err == nil {
			for _, text := range [][]byte{main, dropin} {
				var document map[string]any
				if err := toml.Unmarshal(text, &document); err != nil {
					t.Errorf("the ordinary decoder refuses what is accepted: %v\n%s", err, text)
				}
			}
			everyView(t, tun, publicKeys(t, tun.Hosts()))
			return
		}
		if err.Error() == "" {
			t.Error("an error without a word")
		}
	})
}

func glob(f *testing.F, pattern string) []string {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	return files
}

// FuzzParseView holds that what the decoder accepts is a valid view, which can
// be shown and comes back from its JSON as it was.
func FuzzParseView(f *testing.F) {
	for _, file := range glob(f, "testdata/views/*/*.json") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := tunnel.ParseView(text)
		if err != nil {
			return
		}
		if err := v.Validate(); err != nil {
			t.Fatal(err)
		}
		if v.Annotate() == "" {
			t.Error("a view that cannot be shown")
		}
		once := encode(t, v)
		back, err := tunnel.ParseView(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice := encode(t, back); !bytes.Equal(once, twice) {
			t.Errorf("%s\ncame back as\n%s", once, twice)
		}
	})
}

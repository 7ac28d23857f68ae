package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pelletier/go-toml/v2"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
)

// schemaNamed is the one that wgkeys help --schema NAME prints.
func schemaNamed(name string) (*jsonschema.Schema, error) {
	var text bytes.Buffer
	if err := run(nil, &ui.UI{Stdout: &text}, []string{"wgkeys", "help", "--schema", name}); err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(&text)
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(name, document); err != nil {
		return nil, err
	}
	return c.Compile(name)
}

// schemaOf are the schemas of what verbs write with --json; every other has one of its name.
var schemaOf = map[string]string{"apply": "plan", "down": "plan"}

// keepsSchema: whatever a verb writes with --json, in any script, is as its schema says.
func keepsSchema(ts *testscript.TestScript, args []string) {
	if args[0] != "wgkeys" || !slices.Contains(args, "--json") {
		return
	}
	verb := args[1]
	name := schemaOf[verb]
	if name == "" {
		name = verb
	}
	out := ts.ReadFile("stdout")
	if out == "" { // it failed before there was anything to say
		return
	}
	schema, err := schemaNamed(name)
	ts.Check(err)
	texts := []string{out}
	if verb == "rotate" {
		texts = strings.Split(strings.TrimSpace(out), "\n")
	}
	for _, text := range texts {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		ts.Check(err)
		if err := schema.Validate(value); err != nil {
			ts.Fatalf("%s: %v", strings.Join(args, " "), err)
		}
	}
}

// TestSchemas: each verb that has --json has a schema, and each refuses what it does not know.
func TestSchemas(t *testing.T) {
	t.Parallel()
	want := []string{"tunnel"}
	for _, c := range newApp(nil, &ui.UI{}).Commands {
		for _, f := range c.VisibleFlags() {
			if f.Names()[0] == "json" && schemaOf[c.Name] == "" {
				want = append(want, c.Name)
			}
		}
	}
	slices.Sort(want)
	if got := schemaNames(); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	for _, name := range schemaNames() {
		schema, err := schemaNamed(name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, text := range []string{`{"unknown": 1}`, `[{"unknown": 1}]`, `"text"`, `[1]`} {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if schema.Validate(value) == nil {
				t.Errorf("%s takes %s", name, text)
			}
		}
	}
}

// validTunnel is what the schema says of a tunnel file.
func validTunnel(t *testing.T, schema *jsonschema.Schema, text string) error {
	t.Helper()
	var value any
	if err := toml.Unmarshal([]byte(text), &value); err != nil {
		return err
	}
	spelled, err := json.Marshal(value)
	if err != nil {
		return err
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(spelled))
	if err != nil {
		return err
	}
	return schema.Validate(plain)
}

// A schemaTable is what the tests read of a kind of table in the schema of the tunnel file.
type schemaTable struct{ Properties map[string]schemaProperty }

type schemaProperty struct {
	Description      string
	Const            any
	Minimum, Maximum *json.Number
	AnyOf            []schemaProperty
}

// readTunnelSchema reads that schema. The table is the top of the file.
func readTunnelSchema(t *testing.T) (doc struct {
	schemaTable
	Definitions map[string]schemaTable
}) {
	t.Helper()
	text, err := schemas.ReadFile("doc/schema/tunnel.schema.json")
	if err == nil {
		err = json.Unmarshal(text, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestTunnelSchema: the schema knows the keys that the program knows, and tells of each
// what the guide does.
func TestTunnelSchema(t *testing.T) {
	t.Parallel()
	doc := readTunnelSchema(t)
	top, host, pair := tunnel.Keys()
	for title, x := range map[string]struct {
		schemaTable
		keys []string
	}{
		topTitle:  {doc.schemaTable, top},
		hostTitle: {doc.Definitions["host"], host},
		pairTitle: {doc.Definitions["pair"], pair},
	} {
		meanings := documented(t, title)
		for _, key := range x.keys {
			got := x.Properties[key].Description
			if want := meanings[key]; got == "" || want != "" && got != want {
				t.Errorf("%s %s: %q, and the guide says %q", title, key, got, want)
			}
		}
		if len(x.Properties) != len(x.keys) {
			t.Errorf("%s %d properties, but %d keys", title, len(x.Properties), len(x.keys))
		}
	}
}

// TestTunnelSchemaFiles: the schema takes every tunnel file that the program takes, of all
// that are in the tests and guides, and refuses what is misspelled.
func TestTunnelSchemaFiles(t *testing.T) {
	t.Parallel()
	schema, err := schemaNamed("tunnel")
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for name, text := range tunnelFiles(t) {
		if _, err := tunnel.Parse(oneTunnel(text), "wg0"); err != nil {
			continue // of a test that is about what is wrong with it
		}
		taken++
		if err := validTunnel(t, schema, text); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	t.Logf("%d tunnel files", taken)
	if taken < 60 {
		t.Errorf("%d tunnel files are all that was found", taken)
	}
	for _, text := range []string{
		"port = 1", "listen_port = \"1\"", "listen_port = 65536", "mtu = 100", "psk = 1", "[hosts.a]\nadresses = []",
		"[hosts.a]\naddresses = \"10.0.0.1\"", "[hosts.Anna]", "[hosts.a]\nroutes = [\"all\"]", "[hosts.a]\ntable = \"main\"",
		"[hosts.a]\nmasquerade = \"eth0\"", "[hosts.a]\nprivate_key = \"x\"", "[hosts.a]\nssh = \"-oProxyCommand=x\"",
		"[hosts.a]\nsysctls = { \"kernel.panic\" = 1 }", "[hosts.a.peer.b]\naddresses = []", "[hosts.a]\ntags = [\"a b\"]",
		"[hosts.a]\nprivate_key_file = \"wg0.key\"", "[hosts.a]\nendpoint = []",
	} {
		if validTunnel(t, schema, text) == nil {
			t.Errorf("the schema takes %q", text)
		}
		if _, err := tunnel.Parse(oneTunnel(text), "wg0"); err == nil {
			t.Errorf("the program takes %q", text)
		}
	}
}

// oneTunnel is a folder of tunnels with this one.
func oneTunnel(text string) fs.FS {
	return fstest.MapFS{"wg0.toml": &fstest.MapFile{Data: []byte(text)}}
}

// tunnelFiles are those in the scripts, the guides, the README and the folders of tests.
func tunnelFiles(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	part := regexp.MustCompile(`(?m)^-- (\S+\.toml) --\n((?:[^-].*\n|-[^-].*\n|\n)*)`)
	block := regexp.MustCompile("(?s)```toml\n(.*?)```")
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && (d.Name() == ".lab" || d.Name() == ".git") {
				return fs.SkipDir
			}
			return err
		}
		find, at := (*regexp.Regexp)(nil), 1
		switch filepath.Ext(path) {
		case ".toml":
			find, at = regexp.MustCompile(`(?s)^(.*)$`), 1
		case ".txtar":
			find, at = part, 2
		case ".md":
			find = block
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		for i, m := range find.FindAllStringSubmatch(string(text), -1) {
			all[fmt.Sprintf("%s %d", path, i)] = m[at]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

package main

import (
	"embed"
	"path"
	"strings"

	"wgkeys/cmd/internal/ui"
)

// schemas are the texts of "wgkeys help --schema NAME": of the tunnel file, and of what each
// verb writes with --json.
//
//go:embed doc/schema/*.schema.json
var schemas embed.FS

const schemaDir, schemaEnd = "doc/schema", ".schema.json"

// schemaNames returns the names of all schemas, sorted.
func schemaNames() (names []string) {
	files, err := schemas.ReadDir(schemaDir)
	if err != nil {
		panic(err) // it is embedded in this program
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), schemaEnd))
	}
	return names
}

// schema prints the schema with a name.
func schema(u *ui.UI, name string) error {
	names := schemaNames()
	if name == "" {
		return ui.Usage("no schema named for", "wgkeys help --schema", "there are "+strings.Join(names, ", "),
			"wgkeys help --schema tunnel")
	}
	text, err := schemas.ReadFile(path.Join(schemaDir, name+schemaEnd))
	if err != nil {
		return ui.Usage("no such schema", name, ui.Among(name, names), "wgkeys help --schema tunnel")
	}
	u.Printf("%s", text)
	return nil
}

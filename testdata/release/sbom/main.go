// Sbom checks files by the schema of CycloneDX, and that what depends on what is named in
// them: what packages-test.sh asks of the SBOMs of a release.
//
//	sbom FOLDER FILE...
//
// FOLDER has the schemas, as cyclonedx-go brings them.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func main() {
	schema, err := compile(os.Args[1])
	for _, file := range os.Args[2:] {
		if err == nil {
			err = check(schema, file)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func compile(folder string) (*jsonschema.Schema, error) {
	const base = "http://cyclonedx.org/schema/"
	c := jsonschema.NewCompiler()
	for name, file := range map[string]string{
		"bom-1.6.schema.json":  "bom-1.6.schema.json",
		"spdx.schema.json":     "spdx.schema.json",
		"jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		text, err := read(filepath.Join(folder, file))
		if err != nil {
			return nil, err
		}
		if err := c.AddResource(base+name, text); err != nil {
			return nil, err
		}
	}
	return c.Compile(base + "bom-1.6.schema.json")
}

func read(path string) (any, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return jsonschema.UnmarshalJSON(f)
}

func check(schema *jsonschema.Schema, path string) error {
	text, err := read(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := schema.Validate(text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	type component struct {
		Ref string `json:"bom-ref"`
	}
	var bom struct {
		Metadata     struct{ Component component }
		Components   []component
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal(content, &bom); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	known := map[string]bool{bom.Metadata.Component.Ref: true}
	for _, c := range bom.Components {
		known[c.Ref] = true
	}
	for _, d := range bom.Dependencies {
		for _, ref := range append(d.DependsOn, d.Ref) {
			if !known[ref] {
				return fmt.Errorf("%s: no component %s", path, ref)
			}
		}
	}
	fmt.Printf("%s: %d components\n", filepath.Base(path), len(bom.Components))
	return nil
}

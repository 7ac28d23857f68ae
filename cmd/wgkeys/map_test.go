package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeMap: the packages and the functions that CONTRIBUTING.md leads through are
// there.
func TestReadmeMap(t *testing.T) {
	text, err := os.ReadFile("../../.github/CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```\n")
	packages, _, _ := strings.Cut(rest, "```")
	for line := range strings.Lines(packages) {
		dir, _, _ := strings.Cut(line, " ")
		if sources, err := filepath.Glob(filepath.Join("../..", dir, "*.go")); err != nil || len(sources) == 0 {
			t.Errorf("there is no package %s", dir)
		}
	}
	for _, below := range []string{"keyring", "vault", "deploy", "cmd/internal"} {
		sources, err := filepath.Glob(filepath.Join("../..", below, "*/*.go"))
		if err != nil || len(sources) == 0 {
			t.Fatalf("%s: %v", below, err)
		}
		for _, source := range sources {
			if dir := below + "/" + filepath.Base(filepath.Dir(source)); !strings.Contains(packages, "\n"+dir+" ") {
				t.Errorf("the map has no %s", dir)
			}
		}
	}
	steps := regexp.MustCompile("`([a-z/_]+\\.go):([A-Za-z]+)`").FindAllStringSubmatch(string(text), -1)
	for _, m := range steps {
		source, err := os.ReadFile(filepath.Join("../..", m[1]))
		if err != nil {
			t.Error(err)
			continue
		}
		if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + m[2] + `[(\[]`).Match(source) {
			t.Errorf("there is no %s in %s", m[2], m[1])
		}
	}
	if len(steps) < 30 {
		t.Errorf("it leads through %d functions", len(steps))
	}
}

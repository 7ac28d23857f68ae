package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wgkeys/cmd/internal/ui"
)

// TestReadme keeps the README true: the tunnel file in it is the one that the
// tests use, and every verb is in it.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := os.ReadFile("../../testdata/first-users/tunnels/wg0.toml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "```toml\n"+string(tunnel)+"```\n") {
		t.Error("testdata/first-users/tunnels/wg0.toml is not in the README as it is")
	}
	for _, c := range newApp(nil, &ui.UI{}).Commands {
		if !c.Hidden && !strings.Contains(string(text), "wgkeys "+c.Name) && !strings.Contains(string(text), "make "+c.Name) {
			t.Errorf("the README does not speak of wgkeys %s", c.Name)
		}
	}
}

// TestSecurity: the tests that SECURITY.md names are there.
func TestSecurity(t *testing.T) {
	text, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	named, file, content := 0, "", ""
	for _, m := range regexp.MustCompile("`([a-z0-9/_-]+(?:_test\\.go|\\.txtar)|(?:Test|Fuzz)[A-Za-z0-9]+)`").
		FindAllStringSubmatch(string(text), -1) {
		named++
		if strings.Contains(m[1], "/") {
			b, err := os.ReadFile(filepath.Join("../..", m[1]))
			if err != nil {
				t.Error(err)
			}
			file, content = m[1], string(b)
		} else if !strings.Contains(content, "func "+m[1]+"(") {
			t.Errorf("there is no %s in %s", m[1], file)
		}
	}
	if named < 20 {
		t.Errorf("SECURITY.md names %d tests and files", named)
	}
}

// TestLinks: each link between the pages leads to a file, and to a heading of it.
func TestLinks(t *testing.T) {
	guides, err := filepath.Glob("doc/*.md")
	if err != nil {
		t.Fatal(err)
	}
	figures, err := filepath.Glob("doc/measured/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := slices.Concat(guides, figures,
		[]string{"../../README.md", "../../SECURITY.md", "../../.github/CONTRIBUTING.md"})
	link := regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	seen := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			seen++
			to := page
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(page), m[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", page, err)
			} else if m[2] != "" && !slices.Contains(anchors(t, to), m[2]) {
				t.Errorf("%s: %s has no heading %s", page, to, m[2])
			}
		}
	}
	if seen < 30 {
		t.Errorf("there are only %d links", seen)
	}
}

// anchors are the names that GitHub gives the headings of a page.
func anchors(t *testing.T, page string) (all []string) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	left := regexp.MustCompile(`[^a-z0-9 _-]`)
	for line := range strings.Lines(string(text)) {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			name := left.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all = append(all, "#"+strings.ReplaceAll(name, " ", "-"))
		}
	}
	return all
}

// TestImports: what runs on a host cannot reach the vault or age, by no path,
// since every package of ours is below one of these folders or above both.
func TestImports(t *testing.T) {
	forbidden := map[string][]string{
		"keyring": {"wgkeys/vault", "wgkeys/deploy", "filippo.io/"},
		"deploy":  {"wgkeys/vault", "wgkeys/cmd", "filippo.io/"},
		"vault":   {"wgkeys/deploy", "wgkeys/cmd"},
	}
	for dir, paths := range forbidden {
		files := 0
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files++
			for _, imported := range importsOf(t, path) {
				for _, p := range paths {
					if strings.HasPrefix(imported, p) {
						t.Errorf("%s imports %s", path, imported)
					}
				}
			}
			return nil
		})
		if err != nil || files == 0 {
			t.Errorf("%s: %d files, %v", dir, files, err)
		}
	}
}

// TestCryptography: what encrypts the vault is age. Beside it there are hashes, which
// name things, the types of SSH keys, and randomness.
func TestCryptography(t *testing.T) {
	allowed := []string{"crypto/ed25519", "crypto/rand", "crypto/rsa", "crypto/sha256", "golang.org/x/crypto/ssh"}
	files := 0
	err := filepath.WalkDir("../../vault", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		for _, p := range importsOf(t, path) {
			foreign := strings.HasPrefix(p, "crypto/") || strings.HasPrefix(p, "golang.org/x/crypto/") ||
				strings.HasPrefix(p, "filippo.io/") && !strings.HasPrefix(p, "filippo.io/age")
			if foreign && !slices.Contains(allowed, p) {
				t.Errorf("%s imports %s", path, p)
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

func importsOf(t *testing.T, path string) []string {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}

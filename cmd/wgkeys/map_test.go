package main

import (
	"go/ast"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReadmeMap: the packages that CONTRIBUTING.md has on its map are there, and no other.
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
	for _, dir := range ourPackages(t) {
		switch parent := filepath.Dir(dir); {
		case strings.Contains("\n"+packages, "\n"+dir+" "):
		case strings.HasPrefix(dir, "deploy/apply/linux/"), parent == "deploy/tunnel" && isFormat(t, dir):
		default:
			t.Errorf("the map has no %s", dir)
		}
	}
}

// ourPackages are the folders with sources of the program, without those of laboratories and tests.
func ourPackages(t *testing.T) (dirs []string) {
	t.Helper()
	eachSource(t, func(path string, _ *ast.File) { dirs = append(dirs, filepath.Dir(path)) })
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	if len(dirs) < 50 {
		t.Errorf("only %d packages", len(dirs))
	}
	return dirs
}

// isFormat reports whether package formats lists the package of dir.
func isFormat(t *testing.T, dir string) bool {
	t.Helper()
	list, err := os.ReadFile("../../deploy/tunnel/formats/formats.go")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(list), `"`+module+dir+`"`)
}

// walk follows CONTRIBUTING.md through the functions: each one is there, and calls the next
// one after a comma, by way of a few others at most.
func (h *house) walk(t *testing.T) {
	text, err := os.ReadFile("../../.github/CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	declared, calls := h.functions()
	steps := regexp.MustCompile("`[a-z/_]+\\.go:[A-Za-z]+`").FindAllIndex(text, -1)
	before, end := "", 0
	for _, at := range steps {
		step := string(text[at[0]+1 : at[1]-1])
		if len(declared[step]) == 0 {
			t.Errorf("there is no %s", step)
		}
		if strings.TrimSpace(string(text[end:at[0]])) == "," && !reaches(calls, declared[before], declared[step]) {
			t.Errorf("%s does not call %s", before, step)
		}
		before, end = step, at[1]
	}
	if len(steps) < 30 {
		t.Errorf("it leads through %d functions", len(steps))
	}
}

// functions are those of this module by "FILE:NAME", and for each the functions that it
// mentions: of an interface, all methods of that name.
func (h *house) functions() (declared map[string][]types.Object, calls map[types.Object][]types.Object) {
	declared, calls = map[string][]types.Object{}, map[types.Object][]types.Object{}
	methods := map[string][]types.Object{}
	type body struct {
		of   types.Object
		info *types.Info
		ast  *ast.BlockStmt
	}
	var bodies []body
	for _, r := range h.rooms() {
		for _, file := range r.files {
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || f.Body == nil {
					continue
				}
				o := r.info.Defs[f.Name]
				key := r.name + "/" + h.file(f.Pos()) + ":" + f.Name.Name
				declared[key] = append(declared[key], o)
				if f.Recv != nil {
					methods[f.Name.Name] = append(methods[f.Name.Name], o)
				}
				bodies = append(bodies, body{o, r.info, f.Body})
			}
		}
	}
	for _, b := range bodies {
		ast.Inspect(b.ast, func(n ast.Node) bool {
			id, _ := n.(*ast.Ident)
			called, ok := b.info.Uses[id].(*types.Func)
			if !ok {
				return true
			}
			calls[b.of] = append(calls[b.of], called.Origin())
			if recv := called.Signature().Recv(); recv != nil && types.IsInterface(recv.Type()) {
				calls[b.of] = append(calls[b.of], methods[called.Name()]...)
			}
			return true
		})
	}
	return declared, calls
}

// reaches reports whether one of from calls one of to, by way of three others at most.
func reaches(calls map[types.Object][]types.Object, from, to []types.Object) bool {
	seen := map[types.Object]bool{}
	for range 4 {
		var next []types.Object
		for _, f := range from {
			for _, called := range calls[f] {
				if slices.Contains(to, called) {
					return true
				}
				if !seen[called] {
					seen[called] = true
					next = append(next, called)
				}
			}
		}
		from = next
	}
	return false
}

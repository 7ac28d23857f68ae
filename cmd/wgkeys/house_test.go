package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The house: which package of cmd may know which, and how much one type, or one cycle
// of files, may grow to.
const (
	module     = "wgkeys/"
	maxCycle   = 3  // files of a package that need each other
	maxMethods = 25 // of a type that is spread over more than maxFiles
	maxFiles   = 3
	maxEnv     = 11 // methods of env
)

// mayImport are the arrows between the packages of cmd.
var mayImport = map[string][]string{
	"wgkeys": {"ui", "repo", "check", "remote", "keys", "demo"},
	"keys":   {"ui", "repo", "remote"},
	"check":  {"ui", "repo"},
	"remote": {"ui", "repo"},
	"repo":   {"ui"},
	"demo":   {"ui"},
	"ui":     {},
}

// A house is the packages of cmd, with types.
type house struct {
	t    *testing.T
	fset *token.FileSet
	list map[string]*listed // by path
	done map[string]*room
	gc   types.Importer
}

// A listed package is what go list tells of it.
type listed struct {
	ImportPath, Dir, Export, ForTest string
	GoFiles, TestGoFiles, Imports    []string
}

// A room is one package, type-checked.
type room struct {
	path, name string
	imports    []string
	types      *types.Package
	info       *types.Info
	files      []*ast.File
}

func loadHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, fset: token.NewFileSet(), list: map[string]*listed{}, done: map[string]*room{}}
	cmd := exec.Command("go", "list", "-export", "-deps", "-test", "-json=ImportPath,Dir,Export,ForTest,GoFiles,TestGoFiles,Imports", "./cmd/...")
	cmd.Dir, cmd.Stderr = "../..", os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if p.ForTest == "" {
			h.list[p.ImportPath] = &p
		}
	}
	h.gc = importer.ForCompiler(h.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(h.list[path].Export) })
	return h
}

// ours are the packages of cmd: what is in them is checked from its source.
func (h *house) ours() (all []string) {
	for path := range h.list {
		if strings.HasPrefix(path, module+"cmd/") && !strings.HasSuffix(path, ".test") {
			all = append(all, path)
		}
	}
	slices.Sort(all)
	return all
}

// cmd are the packages of cmd without their tests.
func (h *house) cmd() (all []*room) {
	for _, path := range h.ours() {
		all = append(all, h.room(path))
	}
	return all
}

// Import implements [types.Importer].
func (h *house) Import(path string) (*types.Package, error) {
	if strings.HasPrefix(path, module+"cmd/") {
		return h.room(path).types, nil
	}
	return h.gc.Import(path)
}

func (h *house) room(path string) *room {
	if h.done[path] == nil {
		h.done[path] = h.check(path, h.list[path].GoFiles)
	}
	return h.done[path]
}

// tested is a package with its tests.
func (h *house) tested(path string) *room {
	return h.check(path, slices.Concat(h.list[path].GoFiles, h.list[path].TestGoFiles))
}

func (h *house) check(path string, names []string) *room {
	r := &room{path: path, imports: h.list[path].Imports, info: &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}}
	for _, name := range names {
		f, err := parser.ParseFile(h.fset, filepath.Join(h.list[path].Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			h.t.Fatal(err)
		}
		r.files, r.name = append(r.files, f), f.Name.Name
	}
	var err error
	if r.types, err = (&types.Config{Importer: h}).Check(path, h.fset, r.files, r.info); err != nil {
		h.t.Fatal(err)
	}
	return r
}

// TestHouse: the packages of cmd know each other in one direction only, and none has
// become a knot again.
func TestHouse(t *testing.T) {
	h := loadHouse(t)
	t.Run("arrows", h.arrows)
	t.Run("cycles", h.cycles)
	t.Run("types", h.types)
	t.Run("exported", h.exported)
}

func (h *house) arrows(t *testing.T) {
	for _, p := range h.cmd() {
		name, internal := strings.CutPrefix(p.path, module+"cmd/internal/")
		if !internal {
			name = strings.TrimPrefix(p.path, module+"cmd/")
		}
		may, known := mayImport[name]
		if !known && internal {
			continue // the laboratories of tests
		}
		for _, path := range p.imports {
			if strings.HasPrefix(path, "github.com/urfave/cli") && internal {
				t.Errorf("%s reads flags: it imports %s", p.path, path)
			}
			if other, ok := strings.CutPrefix(path, module+"cmd/internal/"); ok && known && !slices.Contains(may, other) {
				t.Errorf("%s may not import %s", p.path, path)
			}
		}
	}
}

// cycles finds files of a package each of which needs all the others, by way of
// declarations: that is one file in several parts.
func (h *house) cycles(t *testing.T) {
	for _, p := range h.cmd() {
		needs := map[string]map[string]bool{}
		for id, o := range p.info.Uses {
			if o.Pkg() != p.types || !o.Pos().IsValid() {
				continue
			}
			from, to := h.file(id.Pos()), h.file(o.Pos())
			if needs[from] == nil {
				needs[from] = map[string]bool{}
			}
			needs[from][to] = true
		}
		for _, knot := range knots(needs) {
			if len(knot) > maxCycle {
				t.Errorf("%s: a cycle of %d files: %s", p.path, len(knot), strings.Join(knot, ", "))
			}
		}
	}
}

func (h *house) file(pos token.Pos) string { return filepath.Base(h.fset.Position(pos).Filename) }

// knots are the strongly connected components of a graph.
func knots(needs map[string]map[string]bool) (all [][]string) {
	reach := map[string]map[string]bool{}
	var walk func(from, at string)
	walk = func(from, at string) {
		for to := range needs[at] {
			if !reach[from][to] {
				reach[from][to] = true
				walk(from, to)
			}
		}
	}
	for from := range needs {
		reach[from] = map[string]bool{}
		walk(from, from)
	}
	done := map[string]bool{}
	for _, a := range slices.Sorted(maps.Keys(needs)) {
		if done[a] {
			continue
		}
		knot := []string{a}
		for _, b := range slices.Sorted(maps.Keys(needs)) {
			if a != b && reach[a][b] && reach[b][a] {
				knot, done[b] = append(knot, b), true
			}
		}
		all = append(all, knot)
	}
	return all
}

func (h *house) types(t *testing.T) {
	envSeen := false
	for _, p := range h.cmd() {
		scope := p.types.Scope()
		for _, name := range scope.Names() {
			named, ok := scope.Lookup(name).Type().(*types.Named)
			if _, isType := scope.Lookup(name).(*types.TypeName); !ok || !isType {
				continue
			}
			n, files := named.NumMethods(), map[string]bool{}
			for i := range n {
				files[h.file(named.Method(i).Pos())] = true
			}
			if n > maxMethods && len(files) > maxFiles {
				t.Errorf("%s.%s has %d methods in %d files", p.path, name, n, len(files))
			}
			if p.name == "main" && name == "env" {
				if envSeen = true; n > maxEnv {
					t.Errorf("env has %d methods", n)
				}
			}
		}
	}
	if !envSeen {
		t.Error("there is no env")
	}
}

// exported finds what is exported and used by its own package alone.
func (h *house) exported(t *testing.T) {
	declared := map[string]string{} // by place: its name
	for _, p := range h.cmd() {
		if p.name == "main" {
			continue
		}
		for id, o := range p.info.Defs {
			if o != nil && o.Exported() && h.declared(o) && !h.forInterface(p, o) {
				declared[h.place(o.Pos())] = p.name + "." + id.Name
			}
		}
	}
	if len(declared) < 100 {
		t.Errorf("only %d exported declarations", len(declared))
	}
	for _, path := range h.ours() {
		p := h.tested(path)
		for id, o := range p.info.Uses {
			if o.Pkg() != nil && o.Pos().IsValid() && filepath.Dir(h.fset.Position(id.Pos()).Filename) != filepath.Dir(h.fset.Position(o.Pos()).Filename) {
				delete(declared, h.place(o.Pos()))
			}
		}
	}
	for place, name := range declared {
		if !h.throughOthers(name, declared) {
			t.Errorf("%s is exported, and no other package uses it: %s", name, place)
		}
	}
}

// throughOthers reports whether a declaration is used though no other package names it:
// a type by its methods, a method by an interface of cmd.
func (h *house) throughOthers(name string, unused map[string]string) bool {
	for _, p := range h.cmd() {
		for id, o := range p.info.Defs {
			f, ok := o.(*types.Func)
			if !ok || !o.Exported() || f.Type().(*types.Signature).Recv() == nil {
				continue
			}
			recv := f.Type().(*types.Signature).Recv().Type()
			if types.IsInterface(recv) && strings.HasSuffix(name, "."+id.Name) {
				return true
			}
			of := recv.String()
			_, isUnused := unused[h.place(o.Pos())]
			if !isUnused && p.name+"."+of[strings.LastIndexByte(of, '.')+1:] == name {
				return true
			}
		}
	}
	return false
}

func (h *house) place(pos token.Pos) string {
	p := h.fset.Position(pos)
	return fmt.Sprintf("%s:%d:%d", p.Filename, p.Line, p.Column)
}

// declared tells functions, types, variables and constants of the package, and methods:
// no fields, which JSON and struct literals name.
func (h *house) declared(o types.Object) bool {
	if f, ok := o.(*types.Func); ok {
		recv := f.Type().(*types.Signature).Recv()
		return recv == nil || !types.IsInterface(recv.Type())
	}
	return o.Parent() == o.Pkg().Scope()
}

// forInterface reports whether a method is there for an interface of another package,
// as Error, Write or Ask are.
func (h *house) forInterface(p *room, o types.Object) bool {
	f, ok := o.(*types.Func)
	if !ok || f.Type().(*types.Signature).Recv() == nil {
		return false
	}
	switch f.Name() {
	case "Error", "Unwrap", "Is", "Write", "String", "UnmarshalText", "Open", "Stat":
		return true
	}
	return h.says(p, f, "implements [")
}

// says reports whether the comment of a method has a text.
func (h *house) says(p *room, f *types.Func, text string) bool {
	for _, file := range p.files {
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Pos() == f.Pos() {
				return strings.Contains(fn.Doc.Text(), text)
			}
		}
	}
	return false
}

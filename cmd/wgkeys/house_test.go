package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "wgkeys/"

// A house is all packages of this module, with types and with their tests.
type house struct {
	t    *testing.T
	fset *token.FileSet
	list map[string]*listed // by path
	done map[string]*room
	gc   types.Importer
}

// A listed package is what go list tells of it.
type listed struct {
	ImportPath, Dir, Export, ForTest   string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports                            []string
}

// A room is one package, type-checked.
type room struct {
	path    string
	name    string // the path in this module
	imports []string
	files   []*ast.File
	types   *types.Package
	info    *types.Info
	checker *types.Checker
}

func loadHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, fset: token.NewFileSet(), list: map[string]*listed{}, done: map[string]*room{}}
	cmd := exec.Command("go", "list", "-export", "-deps", "-test",
		"-json=ImportPath,Dir,Export,ForTest,GoFiles,TestGoFiles,XTestGoFiles,Imports", "./...", "./testdata/vm")
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
		if p.ForTest == "" && !strings.HasSuffix(p.ImportPath, ".test") {
			h.list[p.ImportPath] = &p
		}
	}
	h.gc = importer.ForCompiler(h.fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(h.list[path].Export)
	})
	for path := range h.list {
		if strings.HasPrefix(path, module) {
			h.room(path)
		}
	}
	return h
}

// rooms are the packages of this module.
func (h *house) rooms() (all []*room) {
	for _, r := range h.done {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *room) int { return strings.Compare(a.path, b.path) })
	return all
}

// Import implements [types.Importer]: what is ours comes from its source.
func (h *house) Import(path string) (*types.Package, error) {
	if strings.HasPrefix(path, module) {
		return h.room(path).types, nil
	}
	return h.gc.Import(path)
}

func (h *house) room(path string) *room {
	if h.done[path] == nil {
		p := h.list[path]
		r := h.newRoom(path, p.Imports)
		h.check(r, p.Dir, p.GoFiles)
		h.done[path] = r
	}
	return h.done[path]
}

func (h *house) newRoom(path string, imports []string) *room {
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	r := &room{path: path, name: strings.TrimPrefix(path, module), imports: imports, info: info}
	r.types = types.NewPackage(path, "")
	r.checker = types.NewChecker(&types.Config{Importer: h}, h.fset, r.types, info)
	return r
}

// check adds files to a package. It can be done again, for its tests.
func (h *house) check(r *room, dir string, names []string) {
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(h.fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			h.t.Fatal(err)
		}
		files = append(files, f)
	}
	if err := r.checker.Files(files); err != nil {
		h.t.Fatal(err)
	}
	r.files = append(r.files, files...)
}

// furnish adds the tests: the rooms themselves are not the same afterwards.
func (h *house) furnish() (users []*room) {
	for _, r := range h.rooms() {
		h.check(r, h.list[r.path].Dir, h.list[r.path].TestGoFiles)
		users = append(users, r)
	}
	for _, r := range h.rooms() {
		if p := h.list[r.path]; len(p.XTestGoFiles) > 0 {
			outside := h.newRoom(r.path+"_test", nil)
			h.check(outside, p.Dir, p.XTestGoFiles)
			users = append(users, outside)
		}
	}
	return users
}

func (h *house) file(pos token.Pos) string { return filepath.Base(h.fset.Position(pos).Filename) }

func (h *house) isTest(id *ast.Ident) bool { return strings.HasSuffix(h.file(id.Pos()), "_test.go") }

// named are the types of a package that have a name.
func (r *room) named() (all []*types.Named) {
	for _, name := range r.types.Scope().Names() {
		if o, ok := r.types.Scope().Lookup(name).(*types.TypeName); ok && !o.IsAlias() {
			if named, ok := o.Type().(*types.Named); ok {
				all = append(all, named)
			}
		}
	}
	return all
}

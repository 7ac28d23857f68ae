package main

import (
	"go/ast"
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"
)

// How much one type, or one cycle of files, may grow to.
const (
	maxCycle    = 6  // files of a package that need each other
	maxCycleCmd = 3  // and in cmd
	maxMethods  = 25 // of a type that is spread over more than maxFiles
	maxFiles    = 3
	maxEnv      = 11 // methods of env
)

// exceptions are what does not keep a rule yet, and how many too many it has: none may
// grow, and one that keeps the rule has to go.
var exceptions = map[string]map[string]int{}

// mayImport are the arrows between the packages of cmd.
var mayImport = map[string][]string{
	"wgkeys":            {"ui", "repo", "check", "remote", "many", "keys", "intake", "demo", "qr", "standing", "manual"},
	"internal/keys":     {"ui", "repo", "remote", "many"},
	"internal/check":    {"ui", "repo"},
	"internal/intake":   {"ui", "remote"},
	"internal/remote":   {"ui", "repo"},
	"internal/standing": {"ui", "remote"},
	"internal/repo":     {"ui"},
	"internal/demo":     {"ui"},
	"internal/ui":       {},
	"internal/qr":       {},
	"internal/many":     {},
	"internal/manual":   {},

	"internal/labtest":   {"demo", "ui", "repo", "check"}, // tests alone import these two
	"internal/faulttest": {"labtest", "demo", "ui", "repo", "check"},
}

// mayNotImport are the arrows between the wings of the house.
var mayNotImport = map[string][]string{
	"keyring": {"deploy", "vault", "cmd"},
	"vault":   {"deploy", "cmd"},
	"deploy":  {"vault", "cmd"},
}

// readsClock are the functions that read the time, or let it pass.
var readsClock = map[string][]string{
	"time":    {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
	"context": {"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause"},
}

// TestHouse: packages know each other in one direction only, and none has become a knot
// again.
func TestHouse(t *testing.T) {
	h := loadHouse(t)
	t.Run("arrows", h.arrows)
	t.Run("walk", h.walk)
	t.Run("pure", h.pure)
	t.Run("flags", h.flags)
	t.Run("start", h.start)
	t.Run("cycles", h.cycles)
	t.Run("methods", h.methods)
	t.Run("exported", h.exported)
}

// judge fails if something has more than it may, and if an exception is none any more.
func judge(t *testing.T, rule string, most int, found map[string][]string) {
	for what, list := range found {
		if len(list) > max(most, exceptions[rule][what]) {
			slices.Sort(list)
			t.Errorf("%s, %s: %d: %s", rule, what, len(list), strings.Join(list, ", "))
		}
	}
	for what := range exceptions[rule] {
		if len(found[what]) <= most {
			t.Errorf("%s, %s: that is no exception any more", rule, what)
		}
	}
}

func (h *house) arrows(t *testing.T) {
	found := map[string][]string{}
	for _, r := range h.rooms() {
		may, known := mayImport[strings.TrimPrefix(r.name, "cmd/")]
		wing, _, _ := strings.Cut(r.name, "/")
		if wing == "cmd" && !known {
			t.Errorf("it is not said what %s may import", r.name)
		}
		for _, path := range r.imports {
			to, ours := strings.CutPrefix(path, module)
			toWing, _, _ := strings.Cut(to, "/")
			other, internal := strings.CutPrefix(to, "cmd/internal/")
			switch {
			case strings.HasPrefix(path, "github.com/urfave/cli") && r.name != "cmd/wgkeys",
				known && internal && !slices.Contains(may, other),
				ours && slices.Contains(mayNotImport[wing], toWing):
				found[r.name] = append(found[r.name], path)
			}
		}
	}
	judge(t, "may not import", 0, found)
}

// pure finds where deploy/apply, which says what would be done, asks the system.
func (h *house) pure(t *testing.T) {
	r := h.room(module + "deploy/apply")
	found := map[string][]string{}
	for id, o := range r.info.Uses {
		if o.Pkg() == nil || h.isTest(id) {
			continue
		}
		if path := o.Pkg().Path(); path == "os" || slices.Contains(readsClock[path], o.Name()) {
			found[r.name+" "+path] = append(found[r.name+" "+path], h.file(id.Pos())+":"+o.Name())
		}
	}
	judge(t, "pure, but for", 0, found)
}

// start finds regular expressions that each start of the program compiles; see lazyregexp.
func (h *house) start(t *testing.T) {
	found := map[string][]string{}
	for _, r := range h.rooms() {
		for _, v := range r.info.InitOrder {
			ast.Inspect(v.Rhs, func(n ast.Node) bool {
				id, ok := n.(*ast.Ident)
				if o := r.info.Uses[id]; ok && o != nil && o.Pkg() != nil && o.Pkg().Path() == "regexp" &&
					strings.Contains(o.Name(), "Compile") && !h.isTest(id) {
					found[r.name] = append(found[r.name], h.file(id.Pos())+":"+v.Lhs[0].Name())
				}
				_, called := n.(*ast.FuncLit)
				return !called
			})
		}
	}
	judge(t, "compiled at the start", 0, found)
}

// cycles finds files of a package each of which needs all the others, by way of
// declarations: that is one file in several parts.
func (h *house) cycles(t *testing.T) {
	cmd, others := map[string][]string{}, map[string][]string{}
	for _, r := range h.rooms() {
		needs := map[string]map[string]bool{}
		for id, o := range r.info.Uses {
			if o.Pkg() != r.types || !o.Pos().IsValid() || h.isTest(id) {
				continue
			}
			from, to := h.file(id.Pos()), h.file(o.Pos())
			if needs[from] == nil {
				needs[from] = map[string]bool{}
			}
			needs[from][to] = true
		}
		found, most := others, maxCycle
		if strings.HasPrefix(r.name, "cmd/") {
			found, most = cmd, maxCycleCmd
		}
		for _, knot := range knots(needs) {
			if len(knot) > most {
				found[r.name] = append(found[r.name], knot...)
			}
		}
	}
	judge(t, "files that need each other", maxCycle, others)
	judge(t, "files of cmd that need each other", maxCycleCmd, cmd)
}

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

// methods finds types that are a bag for what has nothing else in common.
func (h *house) methods(t *testing.T) {
	found, env := map[string][]string{}, -1
	for _, r := range h.rooms() {
		for _, named := range r.named() {
			var names []string
			files := map[string]bool{}
			for m := range named.Methods() {
				if file := h.file(m.Pos()); !strings.HasSuffix(file, "_test.go") {
					names, files[file] = append(names, m.Name()), true
				}
			}
			name := r.name + "." + named.Obj().Name()
			if len(files) > maxFiles {
				found[name] = names
			}
			if name == "cmd/wgkeys.env" {
				env = len(names)
			}
		}
	}
	judge(t, "methods in many files", maxMethods, found)
	if env < 0 || env > maxEnv {
		t.Errorf("env has %d methods", env)
	}
	judge(t, "has env in it like a bag", 0, h.bags())
}

// bags are the types that embed env: each of their methods could reach for any of it, unseen.
func (h *house) bags() map[string][]string {
	found := map[string][]string{}
	for _, named := range h.room(module + "cmd/wgkeys").named() {
		s, ok := named.Underlying().(*types.Struct)
		if !ok {
			continue
		}
		for v := range s.Fields() {
			if v.Embedded() && v.Name() == "env" {
				found[named.Obj().Name()] = append(found[named.Obj().Name()], h.file(v.Pos()))
			}
		}
	}
	return found
}

// exported finds what is exported and used by its own package alone.
func (h *house) exported(t *testing.T) {
	declared := h.exportedDeclarations()
	if len(declared) < 800 {
		t.Errorf("only %d exported declarations", len(declared))
	}
	used, interfaces := h.usedElsewhere(), h.interfaces()
	found := map[string][]string{}
	for _, o := range declared {
		if !used[o] && !forInterface(o, h.room(o.Pkg().Path()).named(), interfaces) {
			name := strings.TrimPrefix(o.Pkg().Path(), module)
			found[name] = append(found[name], o.Name())
		}
	}
	judge(t, "exported without a user", 0, found)
}

func (h *house) exportedDeclarations() (all []types.Object) {
	for _, r := range h.rooms() {
		for id, o := range r.info.Defs {
			if o != nil && o.Exported() && isDeclaration(o) && r.types.Name() != "main" && !h.isTest(id) {
				all = append(all, o)
			}
		}
	}
	return all
}

// usedElsewhere are the declarations that another package uses, or a test of one.
func (h *house) usedElsewhere() map[types.Object]bool {
	u := usage{used: map[types.Object]bool{}}
	for _, r := range h.furnish() {
		for _, o := range r.info.Uses {
			if o.Pkg() != nil && o.Pkg() != r.types && strings.HasPrefix(o.Pkg().Path(), module) {
				u.use(o)
			}
		}
	}
	return u.used
}

// isDeclaration tells functions, types, variables and constants of the package, and
// methods: no fields, which JSON and struct literals name.
func isDeclaration(o types.Object) bool {
	if f, ok := o.(*types.Func); ok {
		recv := f.Signature().Recv()
		return recv == nil || !types.IsInterface(recv.Type())
	}
	return o.Parent() == o.Pkg().Scope()
}

// A usage is what other packages use, by name or as the type of something.
type usage struct{ used map[types.Object]bool }

func (u usage) use(o types.Object) {
	if f, ok := o.(*types.Func); ok {
		o = f.Origin()
	}
	if v, ok := o.(*types.Var); ok {
		o = v.Origin()
	}
	if u.used[o] {
		return
	}
	u.used[o] = true
	u.typ(o.Type())
	if s, ok := o.Type().Underlying().(*types.Struct); ok {
		for v := range s.Fields() {
			if v.Exported() {
				u.typ(v.Type())
			}
		}
	}
}

// typ uses the types that stand in another one.
func (u usage) typ(t types.Type) {
	switch t := t.(type) {
	case *types.Named:
		if o := t.Obj(); o.Pkg() != nil && strings.HasPrefix(o.Pkg().Path(), module) {
			u.use(t.Origin().Obj())
		}
		for a := range t.TypeArgs().Types() {
			u.typ(a)
		}
	case *types.Alias:
		u.used[t.Obj()] = true
		u.typ(t.Rhs())
	case *types.Signature:
		if t.Recv() != nil {
			u.typ(t.Recv().Type())
		}
		for v := range t.Params().Variables() {
			u.typ(v.Type())
		}
		for v := range t.Results().Variables() {
			u.typ(v.Type())
		}
	case *types.Pointer:
		u.typ(t.Elem())
	case *types.Slice:
		u.typ(t.Elem())
	case *types.Array:
		u.typ(t.Elem())
	case *types.Chan:
		u.typ(t.Elem())
	case *types.Map:
		u.typ(t.Key())
		u.typ(t.Elem())
	}
}

// interfaces are those of this module and of the packages that it imports.
func (h *house) interfaces() (all []*types.Interface) {
	paths := map[string]bool{"encoding": true}
	for _, r := range h.rooms() {
		paths[r.path] = true
		for _, path := range r.imports {
			paths[path] = true
		}
	}
	delete(paths, "unsafe")
	delete(paths, "C")
	for path := range paths {
		p, err := h.Import(path)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, name := range p.Scope().Names() {
			if o, ok := p.Scope().Lookup(name).(*types.TypeName); ok {
				if i, ok := o.Type().Underlying().(*types.Interface); ok && i.NumMethods() > 0 {
					all = append(all, i)
				}
			}
		}
	}
	return append(all, types.Universe.Lookup("error").Type().Underlying().(*types.Interface))
}

// forInterface reports whether a method is there for an interface, of its own type or of
// one that embeds it.
func forInterface(o types.Object, named []*types.Named, interfaces []*types.Interface) bool {
	f, ok := o.(*types.Func)
	if !ok || f.Signature().Recv() == nil {
		return false
	}
	if slices.Contains([]string{"Unwrap", "Is", "GobEncode"}, f.Name()) {
		return true // interfaces that have no name, or that nobody here imports
	}
	return slices.ContainsFunc(named, func(n *types.Named) bool {
		recv := types.NewPointer(n)
		m, _, _ := types.LookupFieldOrMethod(recv, false, f.Pkg(), f.Name())
		return m == o && slices.ContainsFunc(interfaces, func(i *types.Interface) bool {
			m, _, _ := types.LookupFieldOrMethod(i, false, f.Pkg(), f.Name())
			return m != nil && types.Implements(recv, i)
		})
	})
}

package main

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"testing"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
)

// flags finds where flags are read below a verb: in a function that is not the verb's own or
// called by that, nor one of what all verbs share. There a verb may read a flag that it does not
// have, which is always empty, and nobody notices.
func (h *house) flags(t *testing.T) {
	r := h.room(module + "cmd/wgkeys")
	_, calls := h.functions()
	reads, seen := h.flagReads(r), 0
	shared := map[string]bool{"env.go": true, "flags.go": true, "identity.go": true}
	for _, c := range newApp(nil, &ui.UI{}).Commands {
		has := map[string]bool{}
		for _, f := range c.Flags {
			for _, name := range f.Names() {
				has[name] = true
			}
		}
		for f, depth := range reached(r.types, calls, actionOf(r, c)) {
			for _, name := range reads[f] {
				seen++
				switch {
				case shared[h.file(f.Pos())]:
				case !has[name]:
					t.Errorf("%s reads --%s in %s, and has no such flag", c.Name, name, f.Name())
				case depth > 1:
					t.Errorf("%s reads --%s in %s, %d calls below it", c.Name, name, f.Name(), depth)
				}
			}
		}
	}
	if seen < 200 {
		t.Errorf("only %d flags are read", seen)
	}
}

// flagReads are the names of the flags that each function of a room reads.
func (h *house) flagReads(r *room) map[types.Object][]string {
	reads := map[types.Object][]string{}
	for _, file := range r.files {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if name := flagRead(r, n); name != "" {
					reads[r.info.Defs[f.Name]] = append(reads[r.info.Defs[f.Name]], name)
				}
				return true
			})
		}
	}
	return reads
}

// flagRead is the name of the flag that a node reads; "" if it reads none, or one of several.
func flagRead(r *room, n ast.Node) string {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return ""
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	f, ok := r.info.Uses[method.Sel].(*types.Func)
	if !ok || f.Pkg() == nil || f.Pkg().Path() != "github.com/urfave/cli/v2" || f.Signature().Recv() == nil {
		return ""
	}
	switch arg := call.Args[0].(type) {
	case *ast.BasicLit:
		if arg.Kind == token.STRING {
			return constant.StringVal(constant.MakeFromLiteral(arg.Value, token.STRING, 0))
		}
	case *ast.SelectorExpr:
		if c, ok := r.info.Uses[arg.Sel].(*types.Const); ok {
			return constant.StringVal(c.Val())
		}
	}
	return ""
}

// actionOf is the function that does the work of a command: the second of the two that are
// returned beside each other.
func actionOf(r *room, c *cli.Command) (action types.Object) {
	for _, file := range r.files {
		ast.Inspect(file, func(n ast.Node) bool {
			both, ok := n.(*ast.ReturnStmt)
			if !ok || len(both.Results) != 2 || !names(both.Results[0], c.Name) {
				return true
			}
			if id, ok := both.Results[1].(*ast.Ident); ok {
				action = r.info.Uses[id]
			}
			return true
		})
	}
	return action
}

// names reports whether an expression is a command of that name.
func names(e ast.Expr, name string) bool {
	address, ok := e.(*ast.UnaryExpr)
	if !ok {
		return false
	}
	command, ok := address.X.(*ast.CompositeLit)
	return ok && slices.ContainsFunc(command.Elts, func(e ast.Expr) bool {
		field, ok := e.(*ast.KeyValueExpr)
		if !ok || field.Key.(*ast.Ident).Name != "Name" {
			return false
		}
		value, ok := field.Value.(*ast.BasicLit)
		return ok && value.Value == `"`+name+`"`
	})
}

// reached are the functions of a package that are called from one of them, with it, and by way of
// how many calls.
func reached(p *types.Package, calls map[types.Object][]types.Object, from types.Object) map[types.Object]int {
	depth := map[types.Object]int{}
	if from == nil {
		return depth
	}
	depth[from] = 0
	for next := []types.Object{from}; len(next) > 0; next = next[1:] {
		for _, f := range calls[next[0]] {
			if _, done := depth[f]; f.Pkg() == p && !done {
				depth[f] = depth[next[0]] + 1
				next = append(next, f)
			}
		}
	}
	return depth
}

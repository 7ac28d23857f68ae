package apply_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// retired are names of functions, methods and types that are said in other words now, in
// the words of the field or of plain English: NAME, TYPE.NAME, or PACKAGE before either.
var retired = map[string]string{
	"capture": "policyRouting", "apply.Captures": "NeedsPolicyRouting", "linux.mayCapture": "mayNeedPolicyRouting",
	"planner.captured": "findPolicyRouting", "planner.capturing": "policyRoutes",
	"Drag": "SideEffect", "apply.dragged": "sideEffectLines", "sysctls.drags": "sideEffects",
	"planner.spared":   "markTransition",
	"participant.part": "role", "part.play": "run", "participant.played": "running",
	"rotate.Party":      "Participant",
	"Rotation.Sessions": "EnsureSessions", "Rotation.Idle": "WaitIdle", "Rotation.Had": "Replaced",
	"Rotation.Now": "ReplaceNow", "Rotation.Refuse": "Revoke",
	"thief":      "throwawayPeer",
	"linux.told": "translate", "absent": "errIfMissing", "gone": "errNoDevice", "unless": "Ignore",
	"Pace.Pass": "Elapse", "Pace.Go": "Allow", "Pace.Empty": "Reset",
}

// TestRetiredWords: no declaration below deploy has a retired name.
func TestRetiredWords(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			for _, name := range namesOf(d) {
				seen++
				for _, name := range []string{name, f.Name.Name + "." + name} {
					if word := retired[name]; word != "" {
						t.Errorf("%s: %s is %s now", fset.Position(d.Pos()), name, word)
					}
				}
			}
		}
		return nil
	})
	if err != nil || seen < 1000 {
		t.Errorf("%d names: %v", seen, err)
	}
}

// namesOf are the names that a declaration makes; a method's has its type in front.
func namesOf(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		receiver := d.Recv.List[0].Type
		if star, ok := receiver.(*ast.StarExpr); ok {
			receiver = star.X
		}
		if id, ok := receiver.(*ast.Ident); ok {
			names = append(names, id.Name+"."+d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if s, ok := s.(*ast.TypeSpec); ok {
				names = append(names, s.Name.Name)
			}
		}
	}
	return names
}

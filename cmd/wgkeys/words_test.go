package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"wgkeys/keyring/lazyregexp"
)

// retiredNames are names of functions, methods, types and fields that are said in other
// words now, in the words of the field or of plain English: NAME, TYPE.NAME, or PACKAGE
// before either.
var retiredNames = map[string]string{
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
	"rotate.anew": "renewed", "rotate.told": "wireFault", "Answer.Had": "Replaced", "Rotation.Turn": "Replace",
	"Pair.Marks": "Fingerprints", "push.markOf": "fingerprintOf", "push.readMark": "readFingerprint",
	"Ring.Seen": "GetFrom", "Ring.LoadSeen": "LoadFrom", "Vault.Seen": "Snapshot",
	"vault.Half": "Expected", "files.told": "translate", "partSteps": "participantSteps", "killParts": "killParticipant",
}

// retiredWords may be in no identifier, for each was a term of ours and is in no manual.
// Some are ordinary English in a sentence.
var retiredWords = []string{"turn", "turns", "turned", "turning", "party", "parties", "play", "plays", "played",
	"playing", "capture", "captures", "captured", "capturing", "spare", "spares", "spared", "drag", "drags", "dragged",
	"thief", "half", "halves", "stranger", "strangers", "told", "untold", "unless", "anew", "lest", "whence", "thence"}

// retiredText may be nowhere, in comments, messages and guides neither.
var retiredText = lazyregexp.New(`(?i)\b(anew|lest|whence|thence|hither|thither|so long as|thief|thieves|` +
	`captur(e|es|ed|ing)|drag(s|ged|ging)?|spared|party|parties)\b`)

// TestRetiredWords: nothing of ours says what is said in other words now.
func TestRetiredWords(t *testing.T) {
	seen := 0
	for _, top := range []string{"cmd", "deploy", "keyring", "vault", "README.md", "SECURITY.md", ".github"} {
		err := filepath.WalkDir(filepath.Join("../..", top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Base(path) == "words_test.go" {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for i, line := range bytes.Split(text, []byte("\n")) {
				if word := retiredText().Find(line); word != nil {
					t.Errorf("%s:%d: %q is retired", path, i+1, word)
				}
			}
			if strings.HasSuffix(path, ".go") {
				seen += retiredIn(t, path, text)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if seen < 10_000 {
		t.Errorf("%d identifiers are all that was found", seen)
	}
}

// retiredIn looks at the declarations and identifiers of a file, and returns how many
// identifiers it has.
func retiredIn(t *testing.T, path string, text []byte) (seen int) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return 0
	}
	for _, d := range f.Decls {
		for _, name := range namesOf(d) {
			for _, name := range []string{name, f.Name.Name + "." + name} {
				if now := retiredNames[name]; now != "" {
					t.Errorf("%s: %s is %s now", fset.Position(d.Pos()), name, now)
				}
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			seen++
			for _, word := range wordsOf(id.Name) {
				if slices.Contains(retiredWords, word) {
					t.Errorf("%s: %q in %s is retired", fset.Position(id.Pos()), word, id.Name)
				}
			}
		}
		return true
	})
	return seen
}

// wordsOf are the words of an identifier, in lower case.
func wordsOf(name string) (words []string) {
	word := ""
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) && !unicode.IsUpper(rune(name[i-1])) || r == '_' {
			words = append(words, word)
			word = ""
		}
		word += string(unicode.ToLower(r))
	}
	return append(words, word)
}

// namesOf are the names that a declaration makes; those of methods and fields have their
// type in front.
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
				names = append(append(names, s.Name.Name), fieldsOf(s)...)
			}
		}
	}
	return names
}

// fieldsOf are the fields of a struct type, with its name in front.
func fieldsOf(s *ast.TypeSpec) (names []string) {
	fields, ok := s.Type.(*ast.StructType)
	if !ok {
		return nil
	}
	for _, f := range fields.Fields.List {
		for _, id := range f.Names {
			names = append(names, s.Name.Name+"."+id.Name)
		}
	}
	return names
}

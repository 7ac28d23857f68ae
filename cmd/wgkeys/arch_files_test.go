package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestOnePlace: what is easily done a little wrong is done in one place. keyring/files
// replaces files, crash-safe, and locks them; keyring/words
// quotes for a shell.
func TestOnePlace(t *testing.T) {
	calls := map[string]string{
		"os.Rename": "keyring/files", "os.CreateTemp": "keyring/files", "unix.Flock": "keyring/files",
		"syscall.Flock":   "keyring/files",
		"unix.FcntlFlock": "keyring/files", "syscall.FcntlFlock": "keyring/files", "unix.Renameat": "keyring/files",
		"os.WriteFile": "keyring/files",
	}
	// The kernel's own files are written in place.
	kernel := map[string]bool{"deploy/apply/linux/threads.go": true, "deploy/host/daemon/urgent.go": true,
		"deploy/host/daemon/comm.go": true}
	found := map[string]bool{}
	eachSource(t, func(path string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if !ok {
					break
				}
				name := x.Name + "." + n.Sel.Name
				home, one := calls[name]
				if one && filepath.Dir(path) == home {
					found[home] = true
				} else if one && !kernel[path] {
					t.Errorf("%s calls %s: see %s", path, name, home)
				}
			case *ast.BasicLit:
				quotes := n.Kind == token.STRING && strings.Contains(n.Value, `'\''`)
				if quotes && filepath.Dir(path) == "keyring/words" {
					found["keyring/words"] = true
				} else if quotes {
					t.Errorf("%s quotes for a shell: see keyring/words", path)
				}
			}
			return true
		})
	})
	if !found["keyring/files"] || !found["keyring/words"] {
		t.Errorf("found only %v", found)
	}
}

// eachSource calls do for every source file of the program, with its path in the
// repository. Laboratories and tests are none.
func eachSource(t *testing.T, do func(path string, f *ast.File)) {
	t.Helper()
	for _, dir := range []string{"cmd", "deploy", "keyring", "vault"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (d.Name() == "testdata" || d.Name() == "lab" || strings.HasSuffix(d.Name(), "test")) {
				return filepath.SkipDir
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			do(strings.TrimPrefix(filepath.ToSlash(path), "../../"), f)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"wgkeys/keyring/lazyregexp"
)

// ofTunnel is a command of a verb that is about one tunnel, before the name of a host.
var ofTunnel = lazyregexp.New(`wgkeys (?:plan|apply|down|confirm|show|gen|qr)(?: --[a-z-]+)* (?:$|%)`)

// onHosts are packages that run on a host, where a view may be all that is known, and those
// that know no tunnel.
var onHosts = []string{"deploy/apply/", "deploy/host/", "deploy/rotate/participant/", "deploy/push/"}

// TestCommandsNameTheTunnel: a hint for a host is spelled by [words.Commands], which knows
// whether the repository has several tunnels.
func TestCommandsNameTheTunnel(t *testing.T) {
	t.Parallel()
	read := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		path = filepath.ToSlash(path)
		name := strings.TrimPrefix(path, "../../")
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.HasPrefix(name, "cmd/internal/labtest/") {
			return err
		}
		for _, p := range onHosts {
			if strings.HasPrefix(name, p) {
				return nil
			}
		}
		read++
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if text, err := strconv.Unquote(lit.Value); err == nil && ofTunnel().MatchString(text) {
				t.Errorf("%v: %s names no tunnel", fset.Position(lit.Pos()), lit.Value)
			}
			return true
		})
		return nil
	})
	if err != nil || read < 200 {
		t.Fatalf("%d files: %v", read, err)
	}
}

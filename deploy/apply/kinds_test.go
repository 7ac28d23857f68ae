package apply_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
)

// kindsOfChange has one of each kind. [TestKindsOfChange] proves that none is forgotten.
var kindsOfChange = []apply.Change{
	apply.LinkChange{Name: "wg0", New: &apply.Link{}}, apply.DeviceChange{},
	apply.PeerChange{Link: "wg0", New: &apply.Peer{}}, apply.AddressChange{},
	apply.RouteChange{New: &apply.Route{}}, apply.RuleChange{}, apply.UnreachableChange{}, apply.ProxyChange{},
	apply.FilterChange{}, apply.DNSChange{}, apply.SysctlChange{}, apply.ShareChange{}, apply.ReleaseChange{},
	apply.ManagerChange{}, apply.ThreadsChange{},
}

// declared are the types of the package that have a method Inverse.
func declared(t *testing.T) (names []string) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if m, ok := d.(*ast.FuncDecl); ok && m.Recv != nil && m.Name.Name == "Inverse" {
				names = append(names, m.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// TestKindsOfChange: the tests know every kind of change, the kernel of the tests as well.
func TestKindsOfChange(t *testing.T) {
	var listed []string
	for _, c := range kindsOfChange {
		listed = append(listed, reflect.TypeOf(c).Name())
	}
	slices.Sort(listed)
	if want := declared(t); !slices.Equal(listed, want) || len(want) == 0 {
		t.Errorf("the tests list %q, and the package has %q", listed, want)
	}
	for _, c := range kindsOfChange {
		needsEntry(c) // which knows each kind
		if err := newKernel().do(c); err != nil && strings.Contains(err.Error(), "knows no") {
			t.Error(err)
		}
	}
}

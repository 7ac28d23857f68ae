package apply_test

import (
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/push"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

const module = "wgkeys"

// goList returns the lines of go list.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}

func below(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

// TestVaultIsOutOfReach: no path of imports leads from the plain half of wgkeys
// to the encrypted one, or back.
func TestVaultIsOutOfReach(t *testing.T) {
	goExists(t)
	deploy := goList(t, "-deps", module+"/deploy/...")
	vault := goList(t, "-deps", module+"/vault")
	if !slices.Contains(deploy, module+"/deploy/apply/linux") || !slices.Contains(vault, "filippo.io/age") {
		t.Fatal("go list does not list what it should")
	}
	for _, pkg := range deploy {
		if below(pkg, module+"/vault") || below(pkg, "filippo.io/age") {
			t.Errorf("wgkeys/deploy/... reaches %s", pkg)
		}
	}
	for _, pkg := range vault {
		if below(pkg, module+"/deploy") {
			t.Errorf("wgkeys/vault reaches %s", pkg)
		}
	}
}

// TestOnlyImporters: each dangerous package has one place that imports it.
func TestOnlyImporters(t *testing.T) {
	goExists(t)
	rules := []struct {
		imported, only string
		except         []string
	}{
		{"github.com/vishvananda/netlink", module + "/deploy/apply/linux", nil},
		{"github.com/google/nftables", module + "/deploy/apply/linux", nil},
		{"golang.zx2c4.com/wireguard/wgctrl", module + "/deploy/apply/linux/wg",
			[]string{module + "/keyring golang.zx2c4.com/wireguard/wgctrl/wgtypes"}},
		{"filippo.io/age", module + "/vault", []string{ // in tests, a plugin of age's that stands for a key with a touch
			module + "/cmd/internal/labtest filippo.io/age", module + "/cmd/internal/labtest filippo.io/age/plugin"}},
		{"golang.zx2c4.com/wireguard/tun", module + "/deploy/apply/linux", nil},
		{"github.com/urfave/cli", module + "/cmd/wgkeys", nil},
	}
	found := map[string]bool{}
	lines := goList(t, "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}}>{{.}} {{end}}`, module+"/...")
	for _, line := range lines {
		pkg, imported, _ := strings.Cut(line, ">")
		for _, rule := range rules {
			if !below(imported, rule.imported) {
				continue
			}
			found[rule.imported] = true
			if !below(pkg, rule.only) && !slices.Contains(rule.except, pkg+" "+imported) {
				t.Errorf("%s imports %s; only %s may", pkg, imported, rule.only)
			}
		}
	}
	for _, rule := range rules {
		if !found[rule.imported] {
			t.Errorf("nobody imports %s: the rule guards nothing", rule.imported)
		}
	}
}

// TestArrows: who works on a host by itself needs no command line and no vault, and what
// is below deploy/host knows nothing of it but how processes are started.
func TestArrows(t *testing.T) {
	goExists(t)
	for _, arrow := range []struct{ from, to string }{
		{"/deploy/...", "/cmd"},
		{"/deploy/rotate", "/deploy/apply"},
		{"/deploy/apply", "/deploy/host"},
		{"/deploy/apply/journal", "/deploy/apply"},
		{"/deploy/apply", "/deploy/apply/linux"},
		{"/deploy/apply", "/deploy/rotate"},
		{"/deploy/host/daemon", "/deploy/apply"},
		{"/deploy/apply/linux", "/deploy/host/session"},
		{"/deploy/apply/linux", "/deploy/host/kept"},
		{"/deploy/host/kept", "/deploy/host/session"},
		{"/deploy/apply/linux/nft", "/deploy/apply/linux/hold"},
		{"/deploy/apply/linux/wg", "/deploy/rotate"},
		{"/deploy/apply/linux/hold", "/deploy/rotate"},
		{"/deploy/apply/linux/hold", "/deploy/apply/linux/wg"},
	} {
		for _, pkg := range goList(t, "-deps", module+arrow.from) {
			if below(pkg, module+arrow.to) && pkg != module+arrow.from {
				t.Errorf("wgkeys%s reaches %s", arrow.from, pkg)
			}
		}
	}
}

// goExists: without the go command nothing would be checked.
func goExists(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Fatal("the rules of import are checked with the go command, which is not here")
	}
}

// TestNoSecretInside walks everything that is planned, printed or sent: none of
// it has a place for a secret.
func TestNoSecretInside(t *testing.T) {
	secrets := []reflect.Type{
		reflect.TypeFor[keyring.PrivateKey](), reflect.TypeFor[keyring.PresharedKey](),
		reflect.TypeFor[wgtypes.Key](), reflect.TypeFor[wgtypes.Config](), reflect.TypeFor[wgtypes.PeerConfig](),
	}
	roots := []any{tunnel.View{}, apply.State{}, apply.Plan{}, journal.Journal{}, journal.Pending{}, push.Result{}}
	for _, c := range kindsOfChange {
		roots = append(roots, c)
	}
	for _, root := range roots {
		walk(reflect.TypeOf(root), map[reflect.Type]bool{}, func(path string, in reflect.Type) {
			if slices.Contains(secrets, in) {
				t.Errorf("%T%s is a %s", root, path, in)
			}
		})
	}
	seen := false // proof that the walk sees one
	walk(reflect.TypeFor[struct {
		a []map[string]*struct{ k keyring.PrivateKey }
	}](), map[reflect.Type]bool{},
		func(_ string, in reflect.Type) { seen = seen || in == secrets[0] })
	if !seen {
		t.Error("the walk sees no secret where there is one")
	}
}

// walk calls f for t and all types within it.
func walk(t reflect.Type, done map[reflect.Type]bool, f func(string, reflect.Type)) {
	var visit func(path string, t reflect.Type)
	visit = func(path string, t reflect.Type) {
		f(path, t)
		if done[t] {
			return
		}
		done[t] = true
		switch t.Kind() {
		case reflect.Struct:
			for i := range t.NumField() {
				visit(path+"."+t.Field(i).Name, t.Field(i).Type)
			}
		case reflect.Map:
			visit(path+"[key]", t.Key())
			visit(path+"[]", t.Elem())
		case reflect.Slice, reflect.Array, reflect.Pointer, reflect.Chan:
			visit(path+"[]", t.Elem())
		}
	}
	visit("", t)
}

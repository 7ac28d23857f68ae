package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/lazyregexp"
)

// The scripts in testdata/script run the real main as a person does, each a promise:
// VERB.txtar, and VERB-MORE.txtar, where VERB is what it is about. None needs root, a
// laboratory or a network.

func TestApply(t *testing.T)   { scripts(t, "apply") }
func TestCheck(t *testing.T)   { scripts(t, "check") }
func TestExport(t *testing.T)  { scripts(t, "export") }
func TestGen(t *testing.T)     { scripts(t, "gen") }
func TestGraph(t *testing.T)   { scripts(t, "graph") }
func TestHelp(t *testing.T)    { scripts(t, "help") }
func TestImport(t *testing.T)  { scripts(t, "import") }
func TestInit(t *testing.T)    { scripts(t, "init") }
func TestMv(t *testing.T)      { scripts(t, "mv") }
func TestPush(t *testing.T)    { scripts(t, "push") }
func TestQR(t *testing.T)      { scripts(t, "qr") }
func TestReceive(t *testing.T) { scripts(t, "receive") }
func TestRekey(t *testing.T)   { scripts(t, "rekey") }
func TestRotate(t *testing.T)  { scripts(t, "rotate") }
func TestShow(t *testing.T)    { scripts(t, "show") }
func TestStatus(t *testing.T)  { scripts(t, "status") }

// scriptsOf returns the scripts about a verb.
func scriptsOf(t *testing.T, verb string) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{verb + ".txtar", verb + "-*.txtar"} {
		found, err := filepath.Glob(filepath.Join("testdata/script", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

// TestEveryScript: each script is run by the test of its verb.
func TestEveryScript(t *testing.T) {
	text, err := os.ReadFile("script_test.go")
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]bool{}
	for _, m := range regexp.MustCompile(`\{ scripts\(t, "(\w+)"\) \}`).FindAllStringSubmatch(string(text), -1) {
		for _, file := range scriptsOf(t, m[1]) {
			ours[file] = true
		}
	}
	all, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(all) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range all {
		if !ours[file] {
			t.Errorf("%s is run by no test", file)
		}
	}
}

// TestEveryVerb: go test -run VERB finds tests of each verb.
func TestEveryVerb(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t `).FindAllStringSubmatch(string(text), -1) {
			tests += strings.ToLower(m[1]) + "\n"
		}
	}
	verbs := 0
	for _, c := range newApp(nil, &ui.UI{}).Commands {
		if c.Hidden {
			continue
		}
		if verbs++; !strings.Contains(tests, c.Name) {
			t.Errorf("no test has %s in its name", c.Name)
		}
	}
	if verbs < 20 {
		t.Errorf("there are %d verbs", verbs)
	}
}

// scripts runs the scripts about a verb.
//
// The commands of scripts beside testscript's own:
//
//	exits N COMMAND...   the command exits with N, shows no secret, and if N is
//	                     not 0 every file is as it was
//	partly N COMMAND...  the same, but files may have changed
//	isjson               the last standard output is JSON
//	buildage FILE        builds the age of go.mod
func scripts(t *testing.T, verb string) {
	t.Parallel()
	hints := newHinter()
	t.Cleanup(func() { hints.report(t) })
	testscript.Run(t, testscript.Params{
		Files: scriptsOf(t, verb),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    func(ts *testscript.TestScript, neg bool, args []string) { exits(ts, neg, args, true); hints.try(ts) },
			"partly":   func(ts *testscript.TestScript, neg bool, args []string) { exits(ts, neg, args, false); hints.try(ts) },
			"isjson":   isJSON,
			"buildage": buildAge,
		},
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("SYSTEM_PATH", os.Getenv("PATH"))
			return os.MkdirAll(home, 0o700)
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string, unchanged bool) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	work := ts.Getenv("WORK")
	before := tree(ts, work)
	got := exitCode(ts, ts.Exec(args[1], args[2:]...))
	after := tree(ts, work)
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if want != 0 && unchanged {
		sameTree(ts, before, after)
	}
	showsNoSecret(ts, after)
	keepsSchema(ts, args[1:])
}

func exitCode(ts *testscript.TestScript, err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// tree is every file below dir: its mode and content by path.
func tree(ts *testscript.TestScript, dir string) map[string]string {
	files := map[string]string{}
	ts.Check(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		var text []byte
		if info.Mode().IsRegular() {
			text, err = os.ReadFile(path)
		}
		files[path] = fmt.Sprintf("%v %s", info.Mode(), text)
		return err
	}))
	return files
}

func sameTree(ts *testscript.TestScript, before, after map[string]string) {
	for path := range before {
		if _, ok := after[path]; !ok {
			ts.Fatalf("a command that failed removed %s", path)
		}
	}
	for path := range after {
		if before[path] != after[path] {
			ts.Fatalf("a command that failed changed %s", path)
		}
	}
}

var keyLike = lazyregexp.New(`[A-Za-z0-9+/]{43}=`)

// showsNoSecret looks for a secret in what the last command said. Whatever has
// the form of a WireGuard key must be in a .pub file.
func showsNoSecret(ts *testscript.TestScript, files map[string]string) {
	public := map[string]bool{}
	for path, text := range files {
		if strings.HasSuffix(path, ".pub") {
			for _, key := range keyLike().FindAllString(text, -1) { // several in a merge conflict
				public[key] = true
			}
		}
	}
	said := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	for _, key := range keyLike().FindAllString(said, -1) {
		if !public[key] {
			ts.Fatalf("a key that is in no .pub file was shown")
		}
	}
	if strings.Contains(strings.ToUpper(said), "AGE-SECRET") {
		ts.Fatalf("an age identity was shown")
	}
}

func isJSON(ts *testscript.TestScript, neg bool, _ []string) {
	if valid := json.Valid([]byte(ts.ReadFile("stdout"))); valid == neg {
		ts.Fatalf("standard output is JSON: %v", valid)
	}
}

// buildAge builds in age's own module, whose go.sum has what only the command
// imports.
func buildAge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: buildage FILE")
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "filippo.io/age").Output()
	ts.Check(err)
	out, err := exec.Command("go", "build", "-C", strings.TrimSpace(string(dir)), "-o", ts.MkAbs(args[0]),
		"./cmd/age").CombinedOutput()
	if err != nil {
		ts.Fatalf("%v: %s", err, out)
	}
}

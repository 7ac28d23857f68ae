// Package labtest is how tests use the laboratory.
package labtest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"wgkeys/deploy/lab"
)

// Main is the TestMain of a package that uses the laboratory:
//
//	func TestMain(m *testing.M) { labtest.Main(m) }
func Main(m *testing.M) {
	lab.Init()
	os.Exit(m.Run())
}

// New returns a laboratory that ends with the test. Programs are what the test
// needs on its hosts beside ip(8).
func New(t *testing.T, programs ...string) *lab.Lab {
	t.Helper()
	Require(t, programs...)
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// Require skips the test where there can be no laboratory: without root, or
// without one of the programs. Where CI=true nothing is skipped: a laboratory
// that is missing there is a failure.
func Require(t *testing.T, programs ...string) {
	t.Helper()
	if why := missing(programs); why != "" {
		refuse(t, os.Getenv("CI") == "true", why)
	}
}

// Programs skips the test where one of the programs is missing; where CI=true that is a
// failure. It takes no laboratory, nor root.
func Programs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			refuse(t, os.Getenv("CI") == "true", "no "+p)
		}
	}
}

// Missing skips the test for want of something else than a program; where CI=true that is
// a failure.
func Missing(t *testing.T, why string) {
	t.Helper()
	refuse(t, os.Getenv("CI") == "true", why)
}

// refuse is the one place where a laboratory test may be skipped.
func refuse(t interface {
	Helper()
	Skipf(string, ...any)
	Fatalf(string, ...any)
}, ci bool, why string) {
	t.Helper()
	if ci {
		t.Fatalf("no laboratory in CI: %s", why)
	} else {
		t.Skipf("no laboratory: %s; run `sudo make test`", why)
	}
}

// missing says what is missing for a laboratory.
func missing(programs []string) string {
	if os.Geteuid() != 0 {
		return "not root"
	}
	var names []string
	for _, p := range append([]string{"ip"}, programs...) {
		if _, err := exec.LookPath(p); err != nil {
			names = append(names, p)
		}
	}
	if len(names) > 0 {
		return "not installed: " + strings.Join(names, " ")
	}
	return ""
}

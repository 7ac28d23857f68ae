// Package labtest makes laboratories for tests.
package labtest

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/lab"
)

// Main is the TestMain of a package that uses the laboratory:
//
//	func TestMain(m *testing.M) { labtest.Main(m) }
func Main(m *testing.M) {
	lab.Init()
	os.Exit(m.Run())
}

// New returns a laboratory that is closed when the test ends. Programs are those that the
// test needs on its hosts besides ip(8).
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

// Require skips the test if no laboratory can be made, because there is no root or one of
// the programs is missing. With CI=true it fails the test instead.
func Require(t *testing.T, programs ...string) {
	t.Helper()
	if why := missing(programs); why != "" {
		refuse(t, os.Getenv("CI") == "true", why)
	}
}

// Programs skips the test if one of the programs is missing. With CI=true it fails the test
// instead. It needs neither root nor a laboratory.
func Programs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			refuse(t, os.Getenv("CI") == "true", "no "+p)
		}
	}
}

// Missing skips the test because something other than a program is missing. With CI=true it
// fails the test instead.
func Missing(t *testing.T, why string) {
	t.Helper()
	refuse(t, os.Getenv("CI") == "true", why)
}

// OwnNetwork moves the test into a network namespace of its own, which ends with it. The test
// keeps its thread, and needs root.
func OwnNetwork(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "only root makes network namespaces")
	}
	runtime.LockOSThread() // never given back: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// refuse is the only place where a laboratory test is skipped.
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

// missing returns what a laboratory lacks, or "".
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

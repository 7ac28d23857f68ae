package main

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	const commit, day = "0123456789abcdef0123", "2026-11-29T12:00:00Z"
	for want, b := range map[string]build{
		"wgkeys devel":            {module: "(devel)"},
		"wgkeys devel (go1.26.8)": {compiler: "go1.26.8"},
		"wgkeys devel (commit 0123456789ab, 2026-11-29, go1.26.8)": {
			revision: commit, time: day, compiler: "go1.26.8"},
		"wgkeys devel (commit 0123456789ab), with changes": {revision: commit, modified: true},
		"wgkeys v1.2.3 (go1.26.8)":                         {module: "v1.2.3", compiler: "go1.26.8"},
		"wgkeys v1.0.0 (commit 0123456789ab)":              {module: "v0.9.0", release: "1.0.0", revision: commit},
	} {
		if got := b.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestVersionOfRelease builds the program as a release is built, in a checkout of its own,
// since a build knows the commit of nothing else.
func TestVersionOfRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Parallel()
	clone := filepath.Join(t.TempDir(), "clone")
	run := func(dir, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if exec.Command("git", "rev-parse", "HEAD").Run() != nil {
		t.Skip("the sources are in no git repository")
	}
	run(".", "git", "clone", "-q", "--no-hardlinks", "../..", clone)
	run(clone, "go", "build", "-buildvcs=true", "-ldflags", "-X main.release=1.0.0", "-o", "wgkeys", "./cmd/wgkeys")
	want := "wgkeys v1.0.0 (commit " + run(clone, "git", "rev-parse", "--short=12", "HEAD") + ", " +
		run(clone, "git", "log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%d") + ", " + runtime.Version() + ")"
	if got := run(clone, "./wgkeys", "--version"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

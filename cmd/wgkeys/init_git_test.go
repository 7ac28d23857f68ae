package main

import (
	"os"
	"path/filepath"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestInitOffersGit: a user who says yes gets a repository of git, and one who says no, or
// ends the input with Ctrl-D, is told how to make one.
func TestInitOffersGit(t *testing.T) {
	labtest.Require(t, "git")
	t.Setenv("HOME", t.TempDir())
	for answer, made := range map[string]bool{"y\n": true, "\n": false, "\x04": false} {
		dir := filepath.Join(t.TempDir(), "net")
		x := onTerminal(t, "wgkeys", "init", "--classic", dir)
		x.shows("git init " + dir + "? [y/N]")
		x.types(answer)
		if code := x.wait(); code != ui.ExitDone {
			t.Fatalf("exit %d\n%s", code, x.shown())
		}
		if _, err := os.Stat(filepath.Join(dir, ".git")); (err == nil) != made {
			t.Errorf("answered %q: %v\n%s", answer, err, x.shown())
		}
		if !made {
			x.shows("it is not in git yet: git init " + dir)
		}
	}
}

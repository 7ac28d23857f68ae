package main

import (
	"os"
	"os/exec"
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

// TestInitWithoutGit: where there is no git nothing is asked, and the hint begins with git.
func TestInitWithoutGit(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	program, err := exec.LookPath("wgkeys")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(program)) // which has nothing else
	if _, err := exec.LookPath("git"); err == nil {
		t.Fatal("git is there")
	}
	dir := filepath.Join(t.TempDir(), "net")
	x := onTerminal(t, "wgkeys", "init", "--classic", dir)
	if code := x.wait(); code != ui.ExitDone {
		t.Fatalf("exit %d\n%s", code, x.shown())
	}
	x.shows("it is not in git yet: apt install git, then")
	x.shows("git init " + dir) // whole, however long
}

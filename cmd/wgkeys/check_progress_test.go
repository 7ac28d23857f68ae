package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/check"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
)

// TestCheckProgress: a check of many hosts and of a long history tells how far it is.
func TestCheckProgress(t *testing.T) {
	f := newFleet(t, twoHosts, nil)
	f.must("gen", "-q", "alpha", "beta")
	const commit = "git init -q && git add -A && git -c user.name=a -c user.email=a@example.net commit -q -m keys"
	c := exec.Command("sh", "-c", commit)
	c.Dir = f.dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r, err := repo.Find(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.TakeSnapshot()()
	var said []string
	progress := func(what string) (func(done, all int), func()) {
		step := func(done, all int) { said = append(said, fmt.Sprintf("%s %d of %d", what, done, all)) }
		return step, func() { said = append(said, what+" ended") }
	}
	found, err := check.Run(t.Context(), r, check.Options{History: true, Progress: progress})
	if err != nil || len(found) > 0 {
		t.Fatalf("%v %v", found, err)
	}
	hosts := []string{"checking hosts 1 of 2", "checking hosts 2 of 2", "checking hosts ended"}
	if len(said) < 8 || !slices.Equal(said[:3], hosts) || said[3] != "searching history 1 of -1" || said[len(said)-1] != "searching history ended" {
		t.Errorf("it says %q", said)
	}
}

// TestProgressUnknown: a bar of work that nobody knows the end of is drawn, and goes.
func TestProgressUnknown(t *testing.T) {
	if os.Getenv("WGKEYS_PROGRESS") != "" {
		longWork()
	}
	x := onTerminal(t, "env", "WGKEYS_PROGRESS=1", os.Args[0], "-test.run", "^TestProgressUnknown$")
	if x.wait(); !strings.Contains(x.shown(), "wgkeys: searching") || !strings.Contains(x.shown(), "wgkeys: said meanwhile\r\n") {
		t.Errorf("%q", x.shown())
	}
	last := strings.LastIndex(x.shown(), "\r")
	if rest := x.shown()[last+1:]; !strings.HasSuffix(strings.TrimSpace(rest), "the end") {
		t.Errorf("the bar stays: %q", x.shown())
	}
}

// longWork is work of three seconds, in a process that has a terminal.
func longWork() {
	u := &ui.UI{Stdout: os.Stdout, Stderr: os.Stderr}
	step, end := u.Progress("searching")
	for i := range 30 {
		step(i, -1)
		if i == 25 {
			u.Say("said meanwhile")
		}
		time.Sleep(100 * time.Millisecond)
	}
	end()
	fmt.Print("the end")
	os.Exit(0)
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	laboratory "wgkeys/deploy/lab/labtest"
)

// onPager starts a command of the shell's on a terminal of 24 lines, where wgkeys is the
// program.
func onPager(t *testing.T, command string) *terminal {
	t.Helper()
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "wgkeys")); err != nil {
		t.Fatal(err)
	}
	return onTerminal(t, "sh", "-c", "PATH="+bin+":$PATH; export TERM=xterm; trap : INT; "+command+"; echo exit code $?")
}

// TestPager: on a terminal a text that is longer goes through $PAGER, and nothing else does;
// whatever the pager does, it was help.
func TestPager(t *testing.T) {
	t.Parallel()
	const (
		end     = "there is a finding" // in the last lines of the help
		marking = "PAGER='sed s/^/paged:/' "
	)
	for name, test := range map[string]struct {
		command string
		shown   []string
		not     string
	}{
		"a pager":          {marking + "wgkeys help", []string{"paged:wgkeys: WireGuard", "paged:Exit", "exit code 0"}, ""},
		"a verb":           {marking + "wgkeys rotate --help", []string{"paged:wgkeys rotate", "exit code 0"}, ""},
		"a guide":          {marking + "wgkeys help vault", []string{"paged:# The vault", "exit code 0"}, ""},
		"a short text":     {marking + "wgkeys demo --help", []string{"nothing is left", "exit code 0"}, "paged:"},
		"a version":        {marking + "wgkeys --version", []string{"wgkeys ", "exit code 0"}, "paged:"},
		"a pipe":           {marking + "wgkeys help | cat", []string{end, "exit code 0"}, "paged:"},
		"a schema":         {marking + "wgkeys help --schema tunnel", []string{"draft-07", "exit code 0"}, "paged:"},
		"empty":            {"PAGER= wgkeys help", []string{end, "exit code 0"}, ""},
		"cat":              {"PAGER=cat wgkeys help", []string{end, "exit code 0"}, ""},
		"none there":       {"PAGER=no-such-pager wgkeys help", []string{end, "exit code 0"}, ""},
		"one that dies":    {"PAGER='kill -9 $$' wgkeys help", []string{"exit code 0"}, ""},
		"one that reads 1": {"PAGER='head -n 1' wgkeys help", []string{"wgkeys: WireGuard", "exit code 0"}, end},
		"one that fails":   {"PAGER='cat; exit 3' wgkeys help", []string{end, "exit code 0"}, ""},
		"a dumb terminal":  {"TERM=dumb " + marking + "wgkeys help", []string{end, "exit code 0"}, "paged:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := onPager(t, test.command)
			for _, text := range test.shown {
				x.shows(text)
			}
			if test.not != "" && strings.Contains(x.shown(), test.not) {
				t.Errorf("%s shows %q:\n%s", test.command, test.not, x.shown())
			}
		})
	}
}

// TestPagerLess: without $PAGER it is less, which waits at the end of the first page, and
// outlives Ctrl-C.
func TestPagerLess(t *testing.T) {
	t.Parallel()
	laboratory.Programs(t, "less")
	x := onPager(t, "unset PAGER LESS; wgkeys help")
	x.shows("Verbs:")
	x.types("\x03") // which less answers by painting the page again
	x.until("the page again", func() bool { return strings.Count(x.shown(), "Verbs:") > 1 })
	x.types("G") // to the end
	x.shows("there is a finding")
	x.types("q")
	x.shows("exit code 0")
}

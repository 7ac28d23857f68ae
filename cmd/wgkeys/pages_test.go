package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/manual"
	"wgkeys/cmd/internal/ui"
	laboratory "wgkeys/deploy/lab/labtest"
	"wgkeys/deploy/tunnel"
)

// TestManual: mandoc, which knows nothing of us, has no complaint about any page, and each
// verb and guide has one that whatis(1) finds.
func TestManual(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man")
	u := &ui.UI{Stdout: io.Discard, Stderr: io.Discard}
	if err := run(nil, u, []string{"wgkeys", "help", "--man", dir}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, filepath.Base(f))
		beginsAsPage(t, f)
	}
	if want := pageNames(newApp(nil, u)); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	laboratory.Programs(t, "mandoc")
	out, err := exec.Command("mandoc", append([]string{"-T", "lint"}, files...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
	out, err = exec.Command("mandoc", "-T", "ascii", filepath.Join(dir, "wgkeys-tunnel.5")).Output()
	if err != nil || !strings.Contains(string(out), "absolute path on the host, instead of") {
		t.Errorf("mandoc shows %v\n%.400s", err, out)
	}
}

// pageNames are the files that there have to be, sorted.
func pageNames(app *cli.App) []string {
	names := []string{"wgkeys.1"}
	for _, c := range app.Commands {
		if !c.Hidden {
			names = append(names, "wgkeys-"+c.Name+".1")
		}
	}
	for _, topic := range topics() {
		names = append(names, "wgkeys-"+topic.name+"."+manual.Section(topic.name))
	}
	slices.Sort(names)
	return names
}

// beginsAsPage: the name in a page is that of its file, and has what whatis(1) reads.
func beginsAsPage(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name, section, _ := strings.Cut(filepath.Base(file), ".")
	name = strings.ReplaceAll(name, "-", `\-`)
	head := ".TH " + strings.ToUpper(name) + " " + section
	if !strings.HasPrefix(string(text), head) || !strings.Contains(string(text), "\n"+name+` \- `) {
		t.Errorf("%s begins with %.200s", file, text)
	}
}

// documented are the keys that a table of the guide to the tunnel file names.
func documented(t *testing.T, title string) map[string]string {
	t.Helper()
	meanings := map[string]string{}
	for _, topic := range topics() {
		if topic.name != "tunnel" {
			continue
		}
		for _, row := range manual.Tables(topic.text())[title] {
			for key := range strings.SplitSeq(row.Key, ", ") {
				meanings[key] = row.Meaning
			}
		}
	}
	if len(meanings) == 0 {
		t.Fatalf("the guide has no table under %q", title)
	}
	return meanings
}

const (
	topTitle  = "At the top, for every host that does not set it itself:"
	hostTitle = "Under [hosts.NAME]:"
	pairTitle = "Under [hosts.NAME.peer.OTHER], for NAME's entry of its peer OTHER:"
)

// TestTunnelGuide: the guide, and so the page wgkeys-tunnel(5), tells of every key that a
// tunnel file may have, and of none that it may not have.
func TestTunnelGuide(t *testing.T) {
	t.Parallel()
	top, host, pair := tunnel.Keys()
	for title, keys := range map[string][]string{topTitle: top, hostTitle: host, pairTitle: pair} {
		meanings := documented(t, title)
		for _, key := range keys {
			if key != "hosts" && key != "peer" && meanings[key] == "" { // those are the headings
				t.Errorf("%s no word of %s", title, key)
			}
		}
		for key := range meanings {
			if !slices.Contains(keys, key) {
				t.Errorf("%s there is no key %s", title, key)
			}
		}
	}
}

// TestExamples: each verb's help has examples, and each is a command line that the program
// takes: with its verbs doing nothing but reading their flags.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, c := range newApp(nil, &ui.UI{}).Commands {
		if c.Hidden {
			continue
		}
		if !strings.Contains(verbHelp(c), "\nExamples:\n    ") {
			t.Errorf("wgkeys %s --help has no example", c.Name)
		}
		for _, line := range examples(c) {
			if !strings.Contains(line, "wgkeys "+c.Name) {
				t.Errorf("%q is no example of %s", line, c.Name)
			}
			for _, args := range commandsOf(t, line) {
				tryExample(t, line, args)
			}
		}
	}
}

// commandsOf are the command lines of wgkeys in a line, as sh reads it.
func commandsOf(t *testing.T, line string) (all [][]string) {
	t.Helper()
	out, err := exec.Command("sh", "-c", `wgkeys() { printf '%s\n' wgkeys "$@" --end-of-it >&3; }
wg() { :; }
source() { :; }
cd "$1" && exec 3>&1 >/dev/null && eval "$2"`, "sh", t.TempDir(), line).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	for command := range strings.SplitSeq(strings.TrimSpace(string(out)), "--end-of-it") {
		if args := strings.Fields(command); len(args) > 0 {
			all = append(all, args)
		}
	}
	if all == nil {
		t.Errorf("%s runs no wgkeys", line)
	}
	return all
}

func tryExample(t *testing.T, line string, args []string) {
	t.Helper()
	app, ran := newApp(nil, &ui.UI{}), ""
	for _, c := range app.Commands {
		c.Action = func(ctx *cli.Context) error {
			ran = c.Name
			if len(ctx.Args().Slice()) > 0 && c.ArgsUsage == "" {
				t.Errorf("%s: %s takes no names", line, c.Name)
			}
			return nil
		}
	}
	sorted, help := permute(app, args)
	if err := app.Run(sorted); err != nil || help || ran != args[1] {
		t.Errorf("%s: %v, and %q was run", line, err, ran)
	}
}

// TestHelpFits: a line of help fits into a terminal of the usual width, which otherwise breaks
// it within a word.
func TestHelpFits(t *testing.T) {
	app := newApp(nil, &ui.UI{})
	texts := map[string]string{"wgkeys": appHelp(app)}
	for _, c := range app.Commands {
		texts[c.Name] = verbHelp(c)
	}
	for name, text := range texts {
		for line := range strings.SplitSeq(text, "\n") {
			if len(line) > 80 {
				t.Errorf("help of %s: %d columns: %s", name, len(line), line)
			}
		}
	}
}

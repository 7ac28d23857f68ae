package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/ui"
	laboratory "wgkeys/deploy/lab/labtest"
)

// completable is a repository with two tunnels, one of which is being written.
func completable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for file, text := range map[string]string{
		"wgkeys.toml": "",
		"tunnels/wg0.toml": "[hosts.shale]\nendpoint = \"192.0.2.1\"\naddresses = [\"10.0.0.1\"]\ntags = [\"web\", \"berlin\"]\n" +
			"[hosts.basalt]\naddresses = [\"10.0.0.2\"]\ntags = [\"web\"]\n" +
			"[hosts.phone]\naddresses = [\"10.0.0.3\"]\nmanaged = false\n",
		"tunnels/home.toml":       "[hosts.slate\n",
		"vault/recipients.txt":    "",
		"keyring/granite/wg0.pub": "",
		"file name.conf":          "",
	} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestComplete: what may stand next.
func TestComplete(t *testing.T) {
	t.Parallel()
	dir := completable(t)
	for line, want := range map[string]string{
		"sh":                        "show",
		"ro":                        "rotate",
		"re":                        "rekey",
		"help ro":                   "rotation rotate",
		"help tu":                   "tunnel",
		"help --":                   "--schema --man",
		"help --schema tu":          "tunnel",
		"help --man ":               ":dirs",
		"__":                        "",
		"show -C DIR b":             "basalt",
		"show -C DIR ":              "basalt phone shale",
		"-C DIR show ":              "basalt phone shale",
		"show -C DIR basalt ":       "",
		"export -C DIR p":           "phone",
		"rotate -C DIR p":           "", // nobody logs in to it
		"push -C DIR ":              "basalt shale @berlin @web",
		"push -C DIR basalt ":       "shale @berlin @web",
		"push -C DIR @w":            "@web",
		"push -C DIR @web @":        "@berlin",
		"gen -C DIR @":              "@berlin @web",
		"push -C DIR -t home ":      "granite", // its file is wrong: those with keys
		"push -C DIR -t ":           "home wg0",
		"push -C DIR --tunnel=w":    "--tunnel=wg0",
		"push -C DIR --host s":      "shale",
		"rotate -C DIR --skip ba":   "basalt",
		"rotate -C DIR --skip=ba":   "--skip=basalt",
		"push --jo":                 "--jobs",
		"push -i ":                  ":files",
		"push --identity=":          ":files",
		"install --programs ":       ":dirs",
		"push -j ":                  "",
		"export --format n":         "networkd networkmanager nixos netplan",
		"graph --format ":           "dot mermaid svg",
		"check --annotate ":         "github gitlab",
		"import -C DIR ":            ":files",
		"import -C DIR --live b":    "basalt",
		"import -C DIR --undo s":    "shale",
		"mv -C DIR -t wg0 ":         "",
		"init ":                     ":dirs",
		"completion ":               "bash zsh fish",
		"completion bash ":          "",
		"push -C DIR -- -":          "",
		"push -C DIR -- b":          "basalt",
		"push -C /no/such/folder b": "",
		"pussh ":                    "",
		"mv -C DIR basalt ":         "",
		"show -C DIR --jso":         "--json",
		"apply -C DIR --to":         "",
	} {
		var out bytes.Buffer
		words := strings.Split(strings.ReplaceAll(line, "DIR", dir), " ")
		if err := run(nil, &ui.UI{Stdout: &out}, append([]string{"wgkeys", askComplete}, words...)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		var got []string
		for l := range strings.Lines(out.String()) {
			word, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
			got = append(got, word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// TestCompletionFlags: every flag that takes a value has one of the words that complete.go
// knows, or is known to have no set.
func TestCompletionFlags(t *testing.T) {
	t.Parallel()
	known := []string{"FILE", "DIR", "HOST", "PEER", "TUNNEL", "N", "DURATION", "RECIPIENT", "FORMAT", "github"}
	for _, c := range newApp(nil, &ui.UI{}).Commands {
		for _, f := range c.VisibleFlags() {
			value, _ := flagUsage(f)
			name := f.Names()[0]
			if value != "" && !slices.Contains(known, value) {
				t.Errorf("wgkeys %s %s: nothing is known of %s", c.Name, dashed(name), value)
			}
			if (value == "FORMAT" || value == "github") && valuesOf(c.Name, name) == nil {
				t.Errorf("wgkeys %s %s: which are the values?", c.Name, dashed(name))
			}
		}
	}
}

// asShell puts the program where a shell finds it, in the repository, with the words that
// the shell is started by.
func asShell(t *testing.T, shell string) (dir string) {
	t.Helper()
	laboratory.Programs(t, shell)
	dir = completable(t)
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "wgkeys")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("TERM", "dumb")
	t.Chdir(dir)
	return dir
}

// completes: the shells that people use complete the command line, as it is typed.
func completes(t *testing.T, x *terminal, prepare string, lines map[string]string) {
	t.Helper()
	x.types(prepare + "; echo read''y\n")
	x.shows("ready")
	for typed, want := range lines {
		before := len(x.shown())
		x.types(typed + "\t")
		x.until(want, func() bool { return strings.Contains(lastLine(x.shown()[before:]), want) })
		after := len(x.shown())
		x.types("\x15\n") // Ctrl-U, and another line
		x.until("the prompt", func() bool { return strings.Contains(x.shown()[after:], "$ ") })
	}
}

// lastLine is what stands in the last line of a terminal that can only go back.
func lastLine(s string) string {
	var line []byte
	at := 0
	for _, c := range []byte(s[strings.LastIndexByte(s, '\n')+1:]) {
		switch c {
		case '\a':
		case '\b':
			at = max(0, at-1)
		case '\r':
			at = 0
		default:
			line = append(line[:at], append([]byte{c}, line[min(at+1, len(line)):]...)...)
			at++
		}
	}
	return string(line)
}

func TestCompletionBash(t *testing.T) {
	asShell(t, "bash")
	x := onTerminal(t, "bash", "--norc", "--noprofile", "-i")
	completes(t, x, `PS1='$ '; eval "$(wgkeys completion bash)"`, map[string]string{
		"wgkeys sho":                "wgkeys show ",
		"wgkeys show ba":            "wgkeys show basalt ",
		"wgkeys push @we":           "wgkeys push @web ",
		"wgkeys push @web @b":       "wgkeys push @web @berlin ",
		"wgkeys push --tunnel=wg":   "wgkeys push --tunnel=wg0 ",
		"wgkeys push --dry":         "wgkeys push --dry-run ",
		"wgkeys graph --format s":   "wgkeys graph --format svg ",
		"wgkeys import fil":         `wgkeys import file\ name.conf `,
		"PAGER= wgkeys help rotati": "wgkeys help rotation ",
	})
}

func TestCompletionZsh(t *testing.T) {
	asShell(t, "zsh")
	x := onTerminal(t, "zsh", "-f", "-i")
	completes(t, x, `PS1='$ '; unsetopt zle_bracketed_paste 2>/dev/null; autoload -U compinit; compinit -u -D; eval "$(wgkeys completion zsh)"`,
		map[string]string{
			"wgkeys sho":              "wgkeys show",
			"wgkeys show ba":          "wgkeys show basalt",
			"wgkeys push @we":         "wgkeys push @web",
			"wgkeys push --tunnel=wg": "wgkeys push --tunnel=wg0",
			"wgkeys push --dry":       "wgkeys push --dry-run",
			"wgkeys graph --format s": "wgkeys graph --format svg",
			"wgkeys import fil":       `wgkeys import file\ name.conf`,
		})
}

// TestCompletionFish asks fish(1) itself, which says what it would complete.
func TestCompletionFish(t *testing.T) {
	asShell(t, "fish")
	for typed, want := range map[string]string{
		"wgkeys sho":              "show",
		"wgkeys show ba":          "basalt",
		"wgkeys show ":            "basalt phone shale",
		"wgkeys push @":           "@berlin @web",
		"wgkeys push --tunnel=wg": "--tunnel=wg0",
		"wgkeys push --dry":       "--dry-run",
		"wgkeys graph --format ":  "dot mermaid svg",
		"wgkeys push -t ":         "home wg0",
		"wgkeys import fil":       "file name.conf",
	} {
		out, err := exec.Command("fish", "--no-config", "-c",
			`wgkeys completion fish | source; complete -C "$argv[1]"`, typed).CombinedOutput()
		var got []string
		for l := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
			got = append(got, word)
		}
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v %q, want %q", typed, err, got, want)
		}
	}
}

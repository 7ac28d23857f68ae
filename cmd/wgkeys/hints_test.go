package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/lazyregexp"
)

// A hinter runs each hint that the scripts of hinted are given, with -long hints those of
// all scripts, in a copy of the state that gave
// it: its commands must end well, or say what is next. No network is there, so hosts
// cannot be reached.
type hinter struct {
	mu       sync.Mutex
	seen     map[string]bool
	ran      int
	prose    []string // hints without a command, or with a name that only a person knows
	failures []string
}

func newHinter() *hinter { return &hinter{seen: map[string]bool{}} }

func (h *hinter) report(t *testing.T) {
	if h.ran == 0 && h.prose == nil {
		return
	}
	t.Logf("%d commands of hints were run in the state that gave them; %d hints have none that can be", h.ran,
		len(h.prose))
	for _, p := range h.prose {
		t.Logf("not run: %s", p)
	}
	for _, f := range h.failures {
		t.Error(f)
	}
}

var (
	hintLine = lazyregexp.New(`(?m)^(?:wgkeys: |  )hint: (.+)$`)
	// What parts a hint into commands: those after "then" and "and" follow, those
	// after "or" and ";" are another way.
	another       = lazyregexp.New(`; |, or |, not `)
	follows       = lazyregexp.New(`,? then:? |, and |,?(?: and|,) (?:wgkeys|git) `)
	inFolder      = lazyregexp.New(`^in (\S+|'[^']*'): `)
	begins        = lazyregexp.New(`(?:^|: )((?:wgkeys|git|rm|ls|chmod|mkdir|grep|printf) .+)$`)
	tail          = lazyregexp.New(` (?:finishes it|finishes the .*|for the preshared keys|asks whether .*|does what is left)$`)
	elsewhereHint = lazyregexp.New(`^(?:only \S+ can open it: )?on \S+, in a clone of the repository: |and the same key in the folder|and its public key in`)
	wrong         = lazyregexp.New(`(?i)usage:|unknown (?:option|switch)|is not a git command|say which with -t|ambiguous argument|bad revision`)
	capitals      = lazyregexp.New(`\b(?:DIR|FILE|NAME|PEER|COMMIT|RECIPIENT|KEY|ADDRESS|TUNNEL)\b`)
	varying       = lazyregexp.New(`/[^ ']*/|[0-9a-f]{32,}|age1[0-9a-z]+`)
)

// ways are the alternatives of a hint, each a list of commands; what is no command is
// left out.
func ways(hint string) (all [][]string) {
	for _, way := range another().Split(hint, -1) {
		var commands []string
		rest := way
		for rest != "" {
			part := rest
			if at := follows().FindStringIndex(rest); at != nil {
				part, rest = rest[:at[0]], rest[at[0]:]
				rest = strings.TrimLeft(rest, ", ")
				for _, word := range []string{"then: ", "then ", "and "} {
					if cut, ok := strings.CutPrefix(rest, word); ok {
						rest = cut
						break
					}
				}
			} else {
				rest = ""
			}
			if m := begins().FindStringSubmatch(part); m != nil {
				commands = append(commands, tail().ReplaceAllString(m[1], ""))
			}
		}
		if len(commands) > 0 {
			all = append(all, commands)
		}
	}
	return all
}

// hinted are the scripts whose hints are run; to run those of all takes minutes more.
var hinted = []string{"check", "check-clones", "gen-commit-first", "gen", "check-git-silent", "rekey-merge",
	"gen-tunnels", "status-tunnels"}

// try runs the hints of what the last command of a script has said.
func (h *hinter) try(ts *testscript.TestScript) {
	if !slices.Contains(hinted, strings.TrimPrefix(filepath.Base(ts.Getenv("WORK")), "script-")) && !long("hints") {
		return
	}
	said := ts.ReadFile("stderr") + ts.ReadFile("stdout")
	for _, m := range hintLine().FindAllStringSubmatch(said, -1) {
		hint := m[1]
		shape := varying().ReplaceAllString(hint, "~")
		h.mu.Lock()
		seen := h.seen[shape]
		h.seen[shape] = true
		h.mu.Unlock()
		if seen {
			continue
		}
		all := ways(hint)
		if len(all) == 0 || elsewhereHint().MatchString(hint) {
			h.add(&h.prose, hint)
			continue
		}
		h.hint(ts, said, hint, all)
	}
}

func (h *hinter) add(to *[]string, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*to = append(*to, text)
}

// hint runs the ways of a hint. One of them is for this state; none is wrong in any.
func (h *hinter) hint(ts *testscript.TestScript, said, hint string, all [][]string) {
	var failed []string
	leads := false
	for _, commands := range all {
		line := strings.Join(commands, " && ")
		if m := inFolder().FindStringSubmatch(hint); m != nil {
			line = "cd " + m[1] + " && " + line
		}
		line = strings.NewReplacer("HOST...", "basalt", "HOST", "basalt", "IDENTITY",
			"$HOME/.config/wgkeys/identity.txt").Replace(line)
		if capitals().MatchString(line) || strings.Contains(line, "git pull") || strings.Contains(line, "ssh ") ||
			strings.Contains(line, "...") {
			h.add(&h.prose, hint)
			leads = true
			continue
		}
		out, code, err := inCopy(ts, line)
		if err != nil {
			ts.Fatalf("hint %q: %v", hint, err)
		}
		h.mu.Lock()
		h.ran++
		h.mu.Unlock()
		why := circular(hint, out, code, line)
		if why == "" {
			leads = true
			continue
		}
		failed = append(failed, fmt.Sprintf("$ %s\n%s(exit code %d) %s", line, out, code, why))
		if wrong().MatchString(out) {
			leads = false
			break
		}
	}
	if len(failed) > 0 && !leads {
		h.add(&h.failures, fmt.Sprintf("hint: %s\nit was given by\n%s\n%s", hint, said, strings.Join(failed, "\n")))
	}
}

// circular tells why what a hint has led to is no way on. What git says where it
// cannot do it is the next thing; and a look at what is not there shows that.
func circular(hint, out string, code int, line string) string {
	wgkeys := strings.Contains(line, "wgkeys ")
	switch {
	case code == 0 || code == ui.ExitFindings && wgkeys:
		return ""
	case wrong().MatchString(out):
		return "a command that is wrong"
	case !wgkeys && (strings.HasPrefix(line, "git ") || strings.HasPrefix(line, "ls ")):
		return ""
	case !wgkeys:
		return "a command that fails"
	}
	next := hintLine().FindAllStringSubmatch(out, -1)
	for _, n := range next {
		if n[1] != hint && (code != ui.ExitUsage || !strings.HasSuffix(n[1], "--help")) {
			return ""
		}
	}
	if len(next) > 0 {
		return "it leads to itself"
	}
	return "nothing says what is next"
}

// inCopy runs a line of sh where a copy of the script's folder lies in the place of
// the folder, and there is no network.
func inCopy(ts *testscript.TestScript, line string) (out string, code int, err error) {
	work := ts.Getenv("WORK")
	dir, err := os.MkdirTemp(filepath.Dir(work), "hint-")
	if err != nil {
		return "", 0, err
	}
	defer os.RemoveAll(dir)
	if out, err := exec.Command("cp", "-a", work+"/.", dir).CombinedOutput(); err != nil {
		return string(out), 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args := []string{"--mount", "--net", "sh", "-c", `mount --bind "$1" "$2" && cd "$3" && eval "$4"`, "sh", dir, work,
		ts.MkAbs("."), line}
	if os.Geteuid() != 0 {
		args = slices.Insert(args, 0, "--map-root-user")
	}
	c := exec.CommandContext(ctx, "unshare", args...)
	c.WaitDelay = time.Second
	for _, name := range []string{"PATH", "SYSTEM_PATH", "HOME", "WORK", "TMPDIR", "GIT_CONFIG_NOSYSTEM", "SSH_AUTH_SOCK",
		"WGKEYS_IDENTITY"} {
		if v := ts.Getenv(name); v != "" {
			c.Env = append(c.Env, name+"="+v)
		}
	}
	c.Env = append(c.Env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=core.editor", "GIT_CONFIG_VALUE_0=true", "GIT_PAGER=cat")
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	err = c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return b.String(), exit.ExitCode(), nil
	}
	return b.String(), 0, err
}

// TestWays: what the commands of a hint are taken for.
func TestWays(t *testing.T) {
	for hint, want := range map[string]string{
		"git pull, then wgkeys push basalt; if nobody has that key: wgkeys push --unknown basalt": "git pull && wgkeys push basalt | wgkeys push --unknown basalt",
		"git -C /n commit --no-edit, or git -C /n merge --abort": "git -C /n commit --no-edit" +
			" | git -C /n merge --abort",
		"wgkeys rekey, then: git -C /n add -A -- vault && git -C /n commit": "wgkeys rekey && git -C /n add -A -- vault && git -C /n commit",
		"name one of basalt, shale":                                         "",
	} {
		var got []string
		for _, w := range ways(hint) {
			got = append(got, strings.Join(w, " && "))
		}
		if strings.Join(got, " | ") != want {
			t.Errorf("%s:\n%s, want\n%s", hint, strings.Join(got, " | "), want)
		}
	}
}

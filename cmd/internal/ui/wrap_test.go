package ui

import (
	"strings"
	"testing"

	"github.com/rivo/uniseg"

	"wgkeys/keyring/fault"
)

// TestWrapped: words stay whole, nothing but a blank is replaced, and no line is longer than the
// terminal is wide, unless a single word is.
func TestWrapped(t *testing.T) {
	t.Parallel()
	const said = `error: cannot reach host "web3": ssh: connect to host 192.0.2.3 port 22: Connection refused, ` +
		`as /etc/a/very/long/path/that/no/terminal/of/eighty/columns/can/show/in/a/single/one/of/its/lines says: 主机`
	for columns, lines := range map[int]int{0: 1, 20: 1, 40: 5, 80: 4, 1000: 1} {
		got := strings.ReplaceAll(wrapped(prefix, said, columns), "\n"+indent, "\n")
		if n := strings.Count(got, "\n") + 1; n != lines {
			t.Errorf("%d columns: %d lines, want %d:\n%s", columns, n, lines, got)
		}
		if whole := strings.ReplaceAll(got, "\n", " "); whole != said {
			t.Errorf("%d columns: %q", columns, whole)
		}
		for line := range strings.Lines(prefix + strings.ReplaceAll(got, "\n", "\n"+indent)) {
			line = strings.TrimSuffix(line, "\n")
			if lines > 1 && uniseg.StringWidth(line) > columns && strings.Contains(strings.TrimSpace(line), " ") {
				t.Errorf("%d columns: %q is too long", columns, line)
			}
		}
	}
}

// TestWrappedCommands: a command in a message is not broken, and a hint is none of two lines. Both
// are what the terminal's selection brings back.
func TestWrappedCommands(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"left out shale, which is this machine: wgkeys apply shale serves it, and nothing else does":           "left out shale, which is this machine:\n|wgkeys apply shale serves it, and\n|nothing else does",
		"another key than in the repository; git pull --rebase origin main, or: wgkeys rotate --unknown shale": "another key than in the repository;\n|git pull --rebase origin main, or:\n|wgkeys rotate --unknown shale",
		"it is not in git yet: apt install git, then git init /root/net":                                       "it is not in git yet: apt install git,\n|then git init /root/net",
		"hint: wgkeys apply --all and a lot more that is to be copied as one line":                             "hint: wgkeys apply --all and a lot more that is to be copied as one line",
		"what runs there is of wgkeys, and ssh has nothing to do with it":                                      "what runs there is of wgkeys, and ssh\n|has nothing to do with it",
	} {
		if got := wrapped("web3: ", said, 44); got != strings.ReplaceAll(want, "|", "      ") {
			t.Errorf("%s\nis shown as\n%s", said, got)
		}
	}
}

// TestForgedLine: a newline in what a host says begins no line that looks like one of ours.
func TestForgedLine(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	u := &UI{Stderr: &said}
	u.Warn(fault.New("refused by host", "shale", "no", "as shale says: true\nwgkeys: hint: false"))
	u.Say("shale: %s", "well\nwgkeys: error: ill")
	for line := range strings.Lines(said.String()) {
		if strings.HasPrefix(line, "wgkeys: hint: false") || strings.HasPrefix(line, "wgkeys: error: ill") {
			t.Errorf("a line of its own: %q", line)
		}
	}
	if !strings.Contains(said.String(), "\n"+indent+"wgkeys: hint: false\n") {
		t.Errorf("said %q", said.String())
	}
}

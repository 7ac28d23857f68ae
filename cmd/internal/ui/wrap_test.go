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
		got := wrapped(said, columns)
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

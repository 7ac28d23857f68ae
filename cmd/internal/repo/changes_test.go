package repo

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// However many recipients a team has and whatever their names, the message is an
// argument that a process can be given.
func TestCommitMessage(t *testing.T) {
	const maxArgument = 128 << 10
	var changes []string
	for i := range 2 * maxMessage {
		changes = append(changes, fmt.Sprintf("host%d wg0.key%s", i, strings.Repeat(": for Zoë (vault/recipients.txt:7)",
			400)))
	}
	text := commitMessage("rekey", changes)
	if len(text) >= maxArgument/2 || !utf8.ValidString(text) {
		t.Errorf("%d bytes, valid: %v", len(text), utf8.ValidString(text))
	}
	lines := strings.Split(text, "\n")
	if len(lines) != maxMessage+4 || lines[0] != "wgkeys rekey: host0, host1, host2 and others" ||
		lines[maxMessage+2] != "and 50 more" {
		t.Errorf("%d lines: %.80q … %.80q", len(lines), lines[0], lines[len(lines)-2])
	}
	if text := commitMessage("gen", []string{"shale wg0 KEY"}); text != "wgkeys gen: shale\n\nshale wg0 KEY\n" {
		t.Errorf("%q", text)
	}
}

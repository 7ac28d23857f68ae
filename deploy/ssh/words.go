package ssh

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxStderr bounds what is remembered of a host's standard error.
const maxStderr = 4 << 10

// Printable makes what a host said harmless for a terminal: control and format
// characters, and bytes that are no UTF-8, become spaces or question marks.
func Printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s))
}

// A tail is a Writer that remembers the last maxStderr bytes.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-maxStderr):]...)
	if over := len(t.b) - maxStderr; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// String returns the remembered lines as one printable line.
func (t *tail) String() string {
	return strings.Join(t.lines(), "; ")
}

// last returns the last line, where ssh gives its reason.
func (t *tail) last() string {
	lines := t.lines()
	if len(lines) == 0 {
		return ""
	}
	return strings.TrimSuffix(lines[len(lines)-1], ".")
}

func (t *tail) lines() []string {
	var lines []string
	for l := range strings.Lines(string(t.b)) {
		if l = Printable(l); l != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

// A lineWriter passes whole lines on, each made printable: ssh's request to
// touch a hardware key must reach the user, the host's escape sequences must
// not.
type lineWriter struct {
	w    io.Writer
	part []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.part = append(l.part, p...)
	for {
		line, rest, found := bytes.Cut(l.part, []byte("\n"))
		if !found && len(l.part) < maxStderr {
			return len(p), nil
		}
		io.WriteString(l.w, Printable(string(line))+"\n") // a deaf watcher must not stop ssh
		l.part = append(l.part[:0], rest...)
	}
}

package ssh

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"wgkeys/keyring/lazyregexp"
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

// A hearing takes in what ssh, and the command through it, say on standard error,
// and tells apart what is of three kinds: words, which an error repeats and the
// watcher sees, printable, line by line: ssh's request to touch a hardware key must
// reach the user, the host's escape sequences must not; what ssh remarks about the
// connection, which is no part of an error; and, where it was asked to be verbose,
// what it reports of its steps.
type hearing struct {
	tail
	watch   io.Writer // nil: nobody
	verbose bool

	remarks       []string
	beforeBanner  string // what sshd said before its version, which is not shown otherwise
	authenticated bool

	part []byte
	held string // the last line, which the watcher has not seen; see final
}

func (h *hearing) Write(p []byte) (int, error) {
	h.part = append(h.part, p...)
	for {
		line, rest, found := bytes.Cut(h.part, []byte("\n"))
		if !found && len(h.part) < maxStderr {
			return len(p), nil
		}
		h.line(string(line))
		h.part = append(h.part[:0], rest...)
	}
}

// end takes in a last line without a newline.
func (h *hearing) end() *hearing {
	if len(h.part) > 0 {
		h.line(string(h.part))
		h.part = nil
	}
	return h
}

func (h *hearing) line(line string) {
	switch text := Printable(line); {
	case isRemark(text):
		if strings.HasPrefix(text, "** ") && len(h.remarks) < maxRemarks && !slices.Contains(h.remarks, text) {
			h.remarks = append(h.remarks, text)
		}
	case h.verbose && h.isReport(text), strings.HasPrefix(text, carrierKilled):
	default:
		h.tail.Write([]byte(line + "\n"))
		if h.watch == nil || early().MatchString(text) { // the error has it, if there is one to the end
			return
		}
		h.show()
		if h.held = text; !final().MatchString(text) {
			h.show()
		}
	}
}

// show shows the watcher the line that was held back: ssh has gone on after it.
func (h *hearing) show() {
	if h.held != "" {
		io.WriteString(h.watch, h.held+"\n") // a deaf watcher must not stop ssh
		h.held = ""
	}
}

// final are the words with which ssh itself gives up. Where they are the last the error has
// them, and the watcher is not to see them twice.
var final = lazyregexp.New(`^ssh: |: Permission denied \([a-z0-9,-]+\)\.?$|^Host key verification failed|` +
	`^Connection (to \S+ )?(closed|reset|timed out)|^Timeout, server |^client_loop: `)

const (
	maxRemarks = 16
	// known_hosts has another line: the user's own choice (StrictHostKeyChecking)
	permanently = "Warning: Permanently added"

	carrierKilled = "Killed by signal 1." // the ssh of a host on the way says so at every end (ProxyJump)
)

// isRemark knows the lines that ssh marks as its own: from OpenSSH 10.1 on it warns
// of a key exchange that is not post-quantum (warn_nonpq_kex in sshconnect2.c).
func isRemark(line string) bool {
	return strings.HasPrefix(line, "** ") || strings.HasPrefix(line, permanently)
}

// isReport knows what ssh -v says, and learns from it.
func (h *hearing) isReport(line string) bool {
	if _, said, ok := strings.Cut(line, "kex_exchange_identification: banner line "); ok {
		_, said, _ = strings.Cut(said, ": ")
		h.beforeBanner = said
	}
	h.authenticated = h.authenticated || strings.HasPrefix(line, "Authenticated to ")
	for _, begin := range []string{"debug1: ", "OpenSSH_", "Authenticated to ", "Transferred: ", "Bytes per second: "} {
		if strings.HasPrefix(line, begin) {
			return true
		}
	}
	return false
}

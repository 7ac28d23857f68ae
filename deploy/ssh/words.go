package ssh

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"wgkeys/keyring/lazyregexp"
)

// maxStderr is how many bytes of a host's standard error are kept.
const maxStderr = 4 << 10

// Printable makes output of a host harmless for a terminal: control and format characters,
// and bytes that are not UTF-8, become spaces or question marks.
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

var keyShape = lazyregexp.New(`[A-Za-z0-9+/]{40,}=?`)

// WithoutKeys is output of a host, which may repeat what it was sent, without keys.
func WithoutKeys(s string) string { return keyShape().ReplaceAllString(s, "(withheld)") }

// A tail is a Writer that keeps the last maxStderr bytes.
type tail struct{ b []byte } // some more, so that not each Write moves them

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-maxStderr):]...)
	if len(t.b) > 2*maxStderr {
		t.b = append(t.b[:0], t.kept()...)
	}
	return len(p), nil
}

func (t *tail) kept() []byte { return t.b[max(0, len(t.b)-maxStderr):] }

// String returns the kept lines as one printable line.
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
	for l := range strings.Lines(string(t.kept())) {
		if l = Printable(l); l != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

// Begins is the line with which a command may say where its own words begin, on standard error as
// on standard output. What comes before is ssh's, or greets whoever logs in: the Banner of
// sshd_config(5), which a company may have on each of its hosts, and what the shell's files say.
const Begins = "wgkeys begins"

// A hearing parses the standard error of ssh, on which the command writes, too. It
// distinguishes four kinds of lines:
//
//   - messages, which become part of an error and are shown to the watcher, printable and
//     line by line, without the escape sequences of a host;
//   - remarks of ssh about the connection, which are not part of an error;
//   - reports of ssh -v about its steps;
//   - what [Askpass] has to tell the user.
//
// Messages before the line [Begins] are forgotten when it comes. A watcher for whom it is
// awaited sees them only if it does not come.
type hearing struct {
	tail
	watch   io.Writer              // may be nil
	wait    func() (end func())    // is called before a write to watch; may be nil
	verbose bool                   // there may be reports
	tell    func(line string) bool // see [Terminal.teller]; may be nil
	before  bool                   // the line Begins is awaited

	remarks       []string
	beforeBanner  string // what sshd said before its version, which ssh shows only with -v
	authenticated bool

	part []byte
	held string // the last line, not shown to the watcher yet; see final
}

func (h *hearing) Write(p []byte) (int, error) {
	h.part = append(h.part, p...)
	rest := h.part
	for {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		if !found && len(rest) < maxStderr {
			h.part = append(h.part[:0], rest...)
			return len(p), nil
		}
		h.line(string(line))
		rest = after
	}
}

// end parses a last line without a newline, and what was said in place of the line Begins.
func (h *hearing) end() *hearing {
	if len(h.part) > 0 {
		h.line(string(h.part))
		h.part = nil
	}
	if h.before {
		h.before = false
		for _, text := range h.lines() {
			h.pass(text)
		}
	}
	return h
}

// endGreeting keeps what was said in place of the line Begins from the watcher, if the user
// has ended the command: it is no reason then.
func (h *hearing) endGreeting(ctx context.Context) {
	if ctx.Err() != nil {
		h.before = false
	}
}

func (h *hearing) line(line string) {
	switch text := Printable(line); {
	case h.tell != nil && h.tell(text):
	case text == Begins:
		h.tail, h.before = tail{}, false
	case isRemark(text):
		if strings.HasPrefix(text, "** ") && len(h.remarks) < maxRemarks && !slices.Contains(h.remarks, text) {
			h.remarks = append(h.remarks, text)
		}
	case h.verbose && h.isReport(text), strings.HasPrefix(text, carrierKilled):
	default:
		h.tail.Write([]byte(line + "\n"))
		if !h.before {
			h.pass(text)
		}
	}
}

// pass passes a message on to the watcher.
func (h *hearing) pass(text string) {
	if h.watch == nil || early().MatchString(text) { // if the last attempt fails too, the error repeats it
		return
	}
	h.show()
	if h.held = text; !final().MatchString(text) {
		h.show()
	}
}

// show shows the watcher the line that was held back, when ssh has gone on after it.
func (h *hearing) show() {
	if h.held != "" {
		if h.wait != nil {
			defer h.wait()()
		}
		io.WriteString(h.watch, h.held+"\n") // an error of the watcher must not stop ssh
		h.held = ""
	}
}

// final matches the messages with which ssh gives up. If one is the last line, the error
// repeats it, so the watcher does not get it.
var final = lazyregexp.New(`^ssh: |: Permission denied \([a-z0-9,-]+\)\.?$|^Host key verification failed|` +
	`^Connection (to \S+ )?(closed|reset|timed out)|^Timeout, server |^client_loop: `)

const (
	maxRemarks = 16
	// a line was added to known_hosts, as the user's StrictHostKeyChecking allows
	permanently = "Warning: Permanently added"

	carrierKilled = "Killed by signal 1." // from the ssh of a jump host, each time (ProxyJump)
)

// isRemark reports whether a line is marked as a remark of ssh. Since OpenSSH 10.1 it warns
// if a key exchange is not post-quantum (warn_nonpq_kex in sshconnect2.c).
func isRemark(line string) bool {
	return strings.HasPrefix(line, "** ") || strings.HasPrefix(line, permanently)
}

// isReport reports whether a line is from ssh -v, and notes what it says about the
// connection.
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

package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh"
)

// Output of a login shell's own files (many a ~/.bashrc has an echo, or a fortune) comes
// before the answer of wgkeys, on the same stream, and need not end with a newline: the
// escape sequence that sets a window's title does not. So the command that runs wgkeys first
// says a line of its own. An answer is JSON, and its first line begins with a brace.

// begins is that line, or its end.
const begins = ssh.Begins

// An ownWords writer passes on what follows that line; all of it if it does not come.
type ownWords struct {
	w     io.Writer
	begun bool
	found bool // that line
	held  []byte
}

func (o *ownWords) Write(p []byte) (int, error) {
	if o.begun {
		return o.w.Write(p)
	}
	o.held = append(o.held, p...)
	before, after, found := bytes.Cut(o.held, []byte(begins+"\n"))
	switch {
	case found:
		o.found, o.held = true, after
	case len(before) < longest:
		return len(p), nil
	}
	return len(p), o.flush()
}

// unbegun is the error of a command that has ended with err and did not begin; otherwise nil.
func (o *ownWords) unbegun(err error) error {
	if o.found {
		return nil
	}
	return unbegun(noiseIn(o.held), err)
}

// flush passes on what was held back.
func (o *ownWords) flush() (err error) {
	if len(o.held) > 0 {
		_, err = o.w.Write(o.held)
	}
	o.begun, o.held = true, nil
	return err
}

// afterGreeting returns what a host has said from its answer on; all of it if there is no
// answer.
func afterGreeting(said []byte) []byte {
	rest := said
	if _, after, found := bytes.Cut(said, []byte(begins+"\n")); found {
		rest = after
	}
	for len(rest) > 0 {
		if rest[0] == '{' {
			return rest
		}
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	return said
}

// A greeted reader skips what comes before the first answer. The reader below it bounds the
// length.
type greeted struct {
	r     *bufio.Reader
	heard bool   // the beginning
	found bool   // the command's own line was in it
	noise string // what came instead, the first of it
	begun bool   // the answer
}

func newGreeted(r io.Reader) *greeted { return &greeted{r: bufio.NewReader(r)} }

func (g *greeted) Read(p []byte) (int, error) {
	if !g.heard {
		if err := g.hear(); err != nil {
			return 0, err
		}
	}
	for !g.begun {
		next, err := g.r.Peek(1)
		if err != nil {
			return 0, err
		}
		if g.begun = next[0] == '{'; g.begun {
			break
		}
		for err = bufio.ErrBufferFull; errors.Is(err, bufio.ErrBufferFull); {
			_, err = g.r.ReadSlice('\n')
		}
		if err != nil {
			return 0, err
		}
	}
	return g.r.Read(p)
}

// hear reads up to the command's own line. If that does not come, nothing is skipped.
func (g *greeted) hear() error {
	var held []byte
	for len(held) < longest {
		piece, err := g.r.ReadSlice('\n')
		held = append(held, piece...)
		if g.found = bytes.HasSuffix(held, []byte(begins+"\n")); g.found {
			g.heard = true
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if !errors.Is(err, io.EOF) {
				return err
			}
			break
		}
	}
	g.heard, g.noise = true, noiseIn(held)
	g.r = bufio.NewReader(io.MultiReader(bytes.NewReader(held), g.r))
	return nil
}

// noiseIn is the first thing that a host has said instead of the command's own line.
func noiseIn(said []byte) string {
	for line := range bytes.Lines(said) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return ui.Printable(strings.ToValidUTF8(string(line[:min(len(line), 80)]), "?"))
		}
	}
	return ""
}

// An unbegunError is that of a host on which the command did not begin, and has ended or was
// given up.
type unbegunError struct {
	noise string // the first thing that the host said
	exit  error  // of the command; nil: it ended well
}

// Unwrap returns why the host was given up: it may begin yet.
func (u *unbegunError) Unwrap() error {
	if errors.Is(u.exit, ssh.ErrSilent) {
		return u.exit
	}
	return nil
}

func (u *unbegunError) Error() string {
	exit := (*ssh.ExitError)(nil)
	switch {
	case u.noise != "":
		return ssh.Instead(u.noise, u.exit).Error()
	case errors.As(u.exit, &exit):
		return exit.Error()
	}
	return "it ran no command"
}

// unbegun returns that error if the command has ended with err, or has said something else and
// was then given up; otherwise nil.
func unbegun(noise string, err error) error {
	exit := (*ssh.ExitError)(nil)
	if err == nil || errors.As(err, &exit) || noise != "" && errors.Is(err, ssh.ErrSilent) {
		return &unbegunError{noise, err}
	}
	return nil
}

var errTooMuch = errors.New("the host says too much")

// maxAnswer is a bound for the answer of a host with 100,000 peers, in bytes.
const maxAnswer = 64 << 20

// A bounded writer fails after too many bytes.
type bounded struct {
	w    io.Writer
	left int
	over context.CancelCauseFunc // ends what writes and ignores errors; may be nil
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		if b.over != nil {
			b.over(errTooMuch)
		}
		return 0, errTooMuch
	}
	return b.w.Write(p)
}

// An ending writer passes on what wgkeys says, but for its last line in which it says how it ended.
type ending struct {
	w      io.Writer
	inLine bool   // what was passed on does not end with a newline
	held   []byte // the last line, if it may be that one
}

func (e *ending) Write(p []byte) (int, error) {
	text := append(e.held, p...)
	at := bytes.LastIndexByte(text[:max(len(text)-1, 0)], '\n') + 1
	if at == 0 && e.inLine || !mayEnd(text[at:]) {
		at = len(text)
	}
	e.held = bytes.Clone(text[at:])
	return len(p), e.pass(text[:at])
}

// mayEnd reports whether a line, or its beginning, is like that which says how wgkeys ended.
func mayEnd(line []byte) bool {
	n := min(len(line), len(ui.EndWords))
	return string(line[:n]) == ui.EndWords[:n] && len(line) <= len(ui.EndWords)+4
}

func (e *ending) pass(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	e.inLine = !bytes.HasSuffix(text, []byte("\n"))
	_, err := e.w.Write(text)
	return err
}

// flush passes on the last line if it is another one.
func (e *ending) flush() error {
	if _, said := e.code(); said {
		return nil
	}
	text := e.held
	e.held = nil
	return e.pass(text)
}

// code is the exit code of which the last line tells, if it does.
func (e *ending) code() (code int, said bool) {
	digits, ok := strings.CutPrefix(string(e.held), ui.EndWords)
	if !ok || !strings.HasSuffix(digits, "\n") {
		return 0, false
	}
	code, err := strconv.Atoi(strings.TrimSpace(digits))
	return code, err == nil
}

// errNoEnd is the cause of an error about a host where something has exited like wgkeys, but is
// not.
var errNoEnd = errors.New("what runs there as wgkeys exits as if all were well, and is not wgkeys, or hides what wgkeys says")

// judge returns the error of wgkeys itself, which a wrapper around it may not pass on: err is
// that of what was run. A failure is one in any case.
func (e *ending) judge(err error) error {
	exit := (*ssh.ExitError)(nil)
	failed := errors.As(err, &exit)
	if err != nil && !failed || failed && exit.Code != ui.ExitFindings && exit.Code != ui.ExitWaits {
		return err
	}
	code, said := e.code()
	switch {
	case !said:
		return errNoEnd
	case code != ui.ExitDone && !failed:
		return &ssh.ExitError{Code: code}
	}
	return err
}

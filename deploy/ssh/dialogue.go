package ssh

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"wgkeys/keyring/fault"
)

// A Dialogue is a conversation in lines with a script of ours on a host. Up to its greeting
// every such script may say, one line each:
//
//	as USER         who was let in, if not root: sudo is tried next
//	lack COMMAND    the host cannot go on
//
// Any other line comes from the login shell's own files.
type Dialogue struct {
	*Session

	Patience Patience // the limit for one answer of the host
	Less     SudoRule // what would do there for this script

	host     string
	dest     string // what ssh connects to; "": no ssh is between
	local    bool   // it is this machine
	in       *bufio.Reader
	greeting Patience // the limit for a line up to the greeting
	heard    bool     // the host has said something
	greeted  bool     // the script has greeted
	user     string   // who the host let in, if not root
	noise    string   // the first thing that it said instead of the greeting
}

// maxNoise is how many lines a login script may print before the script's first.
const maxNoise = 64

// Dial starts a script on a host. It may take as long as patience for an answer, and say no line
// longer than maxLine. The caller must call [Dialogue.HangUp].
func Dial(ctx context.Context, r Runner, host, command string, patience time.Duration, maxLine int) *Dialogue {
	s := Start(ctx, r, command)
	d := &Dialogue{Session: s, host: host, in: bufio.NewReaderSize(s.Stdout, maxLine)}
	if c, ok := r.(*Client); ok {
		d.dest = c.dest()
	}
	_, d.local = r.(Local)
	greeting := cmp.Or(limitOf(r), patience)
	d.greeting, d.Patience = s.patience(greeting, quietFor(greeting)), s.patience(patience, errUnanswered)
	return d
}

// Line returns the host's next line.
func (d *Dialogue) Line() (string, error) {
	end, err := d.await()
	if err != nil {
		return "", err
	}
	defer end()
	return d.LineUntimed()
}

// await starts the time for a line. Before the host's first word the user may be typing
// passphrases, so there is no limit. From then on ssh sets none, also if the word was the login
// shell's own and nothing follows.
func (d *Dialogue) await() (end func(), err error) {
	if d.greeted {
		return d.Patience.Begin(), nil
	}
	if !d.heard {
		if _, err := d.in.Peek(1); err != nil {
			return nil, err
		}
		d.heard = true
	}
	return d.greeting.Begin(), nil
}

// LineUntimed returns the host's next line. The caller limits the time for it.
func (d *Dialogue) LineUntimed() (string, error) {
	line, err := ReadLine(d.in)
	return string(line), err
}

var errLine = errors.New("it says too much in one line")

// ReadLine returns the next line without its newline; an incomplete last line is an error, and
// so is one longer than the reader's buffer. The result is valid until the next read.
func ReadLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errLine
	case err != nil && len(line) > 0 && errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return line[:len(line)-1], nil
}

// Greet reads up to the line that is the greeting. Before it, fact takes the lines that no
// other script says; it may be nil.
func (d *Dialogue) Greet(greeting, fact func(line string) bool) error {
	for range maxNoise {
		line, err := d.Line()
		if err != nil {
			return err
		}
		if d.greeted = greeting(line); d.greeted {
			return nil
		}
		if fact != nil && fact(line) {
			continue
		}
		line = Printable(line)
		switch verb, rest, _ := strings.Cut(line, " "); {
		case verb == "as" && d.user == "":
			d.user = rest
		case verb == "lack" && rest == "sudo":
			return Refusal{Host: d.host, User: d.user, Why: NoSudo, Local: d.local}.Err()
		case verb == "lack":
			return LackError(rest)
		case d.noise == "":
			d.noise = WithoutKeys(line)
		}
	}
	return errors.New("too much said before the first line of the protocol")
}

// A LackError is that of a host without a command, by its name.
type LackError string

func (l LackError) Error() string { return fmt.Sprintf("there is no command %q", string(l)) }

// HangUp ends the conversation and returns the error of the Runner. After a protocol error
// the rest of the host's output is not read; if the connection broke by itself, ssh has the
// reason.
func (d *Dialogue) HangUp(err error) error {
	if err != nil && !broken(err) {
		d.Kill(err)
	}
	defer d.Patience.Begin()()
	return d.Wait()
}

// An endedError is a connection that ended before the conversation did.
type endedError struct {
	exit   *ExitError // of the host's command; nil if that is not known
	secret bool       // the command may have repeated a secret
}

// Error repeats nothing that may be a secret.
func (e *endedError) Error() string {
	switch {
	case e.exit == nil:
		return "the connection ended"
	case e.secret:
		return fmt.Sprintf("the connection ended (exit status %d)", e.exit.Code)
	}
	return "the connection ended: " + e.exit.Error()
}

// Cause returns the reason why the conversation ended: seen is its own error, end that of
// [Dialogue.HangUp]. If secrets were sent, nothing is repeated that the host has said since.
func (d *Dialogue) Cause(seen, end error, secrets bool) error {
	if cause := cause(seen, end); cause != nil {
		return cause
	}
	e := &endedError{secret: secrets}
	errors.As(end, &e.exit)
	return e
}

// Explain translates that reason for the user. again is the command to run then, if the host was
// lost after its greeting.
func (d *Dialogue) Explain(cause error, again string) error {
	var known *fault.Fault
	switch {
	case !d.greeted && d.user == "" && d.noise != "" && errors.Is(cause, ErrSilent):
		return d.unheard(cause)
	case errors.As(cause, &known):
		return cause
	case d.greeted:
		return fault.WrapHost(cause, "lost host", d.host, again)
	}
	return d.unheard(cause)
}

// unheard is the error of a host whose script has not greeted.
func (d *Dialogue) unheard(cause error) error {
	switch {
	case d.user != "":
		return d.noRoot(cause)
	case d.noise != "":
		cause = Instead(d.noise, cause)
	}
	return NoShell(d.host, d.dest, cause)
}

// noRoot is the error of a host on which sudo has not begun the script.
func (d *Dialogue) noRoot(cause error) error {
	r := Refusal{Host: d.host, User: d.user, Other: cause.Error(), Less: d.Less, Local: d.local}
	if ended, ok := errors.AsType[*endedError](cause); ok && ended.exit != nil {
		if why, refused := SudoSaid(ended.exit.Stderr); refused {
			r.Why, r.Other = why, ""
		}
	}
	return r.Err()
}

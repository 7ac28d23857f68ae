package ssh

import (
	"context"
	"errors"
	"io"
	"time"

	"wgkeys/keyring/fault"
)

// A Session is a command in progress with which the caller exchanges lines.
type Session struct {
	Stdin  io.WriteCloser
	Stdout io.Reader

	out  *io.PipeReader
	kill context.CancelCauseFunc
	done chan struct{}
	err  error
}

// maxRest is how many bytes Wait reads from a command that should have nothing more to say.
const maxRest = 64 << 10

// Start starts command on r. The caller must call Wait.
func Start(ctx context.Context, r Runner, command string) *Session {
	ctx, kill := context.WithCancelCause(ctx)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	s := &Session{Stdin: inW, Stdout: outR, out: outR, kill: kill, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = r.Run(ctx, command, conversation{inR}, outW)
		inR.Close()
		outW.Close()
	}()
	return s
}

// Kill ends the command at once; Wait then returns an error that wraps cause.
func (s *Session) Kill(cause error) { s.kill(cause) }

// Wait closes the command's standard input, waits until the command ends, and returns the
// error of [Runner.Run].
func (s *Session) Wait() error {
	s.Stdin.Close()
	if n, _ := io.CopyN(io.Discard, s.Stdout, maxRest); n == maxRest {
		s.kill(errTalks)
	}
	s.out.Close()
	<-s.done
	s.kill(nil)
	return s.err
}

// errTalks ends a session whose command does not stop writing.
var errTalks = errors.New("it says more than it was asked")

// errUnanswered ends a session whose host took too long for an answer.
var errUnanswered = errors.New("it stopped answering")

// A Patience limits the time that a host may take for one answer.
type Patience struct {
	timer *time.Timer
	limit time.Duration
}

// patience returns a limit for each answer: the session ends with the error late if more than
// limit passes between [Patience.Begin] and [Patience.End].
func (s *Session) patience(limit time.Duration, late error) Patience {
	p := Patience{time.AfterFunc(limit, func() { s.Kill(late) }), limit}
	p.timer.Stop()
	return p
}

// Begin starts the time, again if it is running already, and returns End.
func (p Patience) Begin() (end func()) {
	p.timer.Reset(p.limit)
	return p.End
}

// End stops the time.
func (p Patience) End() { p.timer.Stop() }

// An AnswerLimit limits the time for one answer of a [Session], as a [Client] does for a command
// without one: a host that says nothing for the limit is given up, and one whose answer does
// not come to an end within ten times the limit.
type AnswerLimit struct {
	session    *Session
	limit      time.Duration // 0: none
	quiet, all *time.Timer   // nil: it has not begun, or there is no limit
}

// AnswerLimit returns a limit for an answer, which begins with [AnswerLimit.Heard].
func (s *Session) AnswerLimit(limit time.Duration) *AnswerLimit {
	return &AnswerLimit{session: s, limit: limit}
}

// Heard is called whenever the host has said something, or if it is to speak now.
func (l *AnswerLimit) Heard() {
	switch {
	case l.limit <= 0:
	case l.quiet == nil:
		l.quiet = time.AfterFunc(l.limit, func() { l.session.Kill(quietFor(l.limit)) })
		l.all = time.AfterFunc(patienceFactor*l.limit, func() { l.session.Kill(endlessFor(l.limit)) })
	default:
		l.quiet.Reset(l.limit)
	}
}

// End ends the limit.
func (l *AnswerLimit) End() {
	if l.quiet != nil {
		l.quiet.Stop()
		l.all.Stop()
	}
}

// broken reports whether err means that the connection has ended, and not that the host sent
// something wrong.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}

// cause returns the reason why a conversation ended: seen is the error of the conversation,
// end that of [Session.Wait]. If ssh failed, the end of the conversation is only a symptom.
// It returns nil if both only say that the connection has ended.
func cause(seen, end error) error {
	var known *fault.Fault
	exit := (*ExitError)(nil)
	switch {
	case errors.Is(end, context.Canceled) || errors.Is(end, context.DeadlineExceeded):
		return end
	case errors.Is(end, errUnanswered):
		return errUnanswered
	case !broken(seen):
		return seen
	case errors.Is(end, ErrUnreachable) || errors.As(end, &known) && !errors.As(end, &exit):
		return end
	}
	return nil
}

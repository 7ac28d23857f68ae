package ssh

import (
	"context"
	"io"
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

// maxRest bounds what Wait reads of a command that should have nothing more to
// say.
const maxRest = 64 << 10

// Start starts command on r. The caller must call Wait.
func Start(ctx context.Context, r Runner, command string) *Session {
	ctx, kill := context.WithCancelCause(ctx)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	s := &Session{Stdin: inW, Stdout: outR, out: outR, kill: kill, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = r.Run(ctx, command, inR, outW)
		inR.Close()
		outW.Close()
	}()
	return s
}

// Kill ends the command at once; Wait then returns an error that wraps cause.
func (s *Session) Kill(cause error) { s.kill(cause) }

// Wait closes the command's standard input, waits until it ends, and returns
// the error of [Runner.Run].
func (s *Session) Wait() error {
	s.Stdin.Close()
	if n, _ := io.CopyN(io.Discard, s.Stdout, maxRest); n == maxRest {
		s.kill(io.ErrShortBuffer)
	}
	s.out.Close()
	<-s.done
	s.kill(nil)
	return s.err
}

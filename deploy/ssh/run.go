package ssh

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"time"

	"wgkeys/keyring/child"
	"wgkeys/keyring/fault"
)

// A Local is a Runner for this machine.
type Local struct {
	Limit  time.Duration // as in [Client]: how long a command may say nothing
	Stderr io.Writer     // as in [Client]
}

// Run implements [Runner] with /bin/sh.
func (l Local) Run(ctx context.Context, command string, stdin io.Reader, stdout io.Writer) error {
	const here = "this machine"
	p := process{argv: []string{"/bin/sh", "-c", command}, stdin: stdin, stdout: stdout, watch: l.Stderr, limit: l.Limit,
		talks: talks(stdin)}
	code, said, err := p.run(ctx)
	switch {
	case errors.Is(err, ErrSilent):
		return fault.WrapHost(err, "stopped the command on host", here, "")
	case ctx.Err() != nil:
		return stopped(ctx, here)
	case err != nil:
		return fault.WrapHost(err, "cannot run a command on host", here, "")
	case code != 0:
		return failed(here, &ExitError{Code: code, Stderr: said.String(), Local: true})
	}
	return nil
}

// stopped is the error of a command that was ended because its context was.
func stopped(ctx context.Context, host string) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) {
		cause = tooLong{}
	}
	return fault.WrapHost(cause, "stopped the command on host", host, "")
}

// tooLong is [context.DeadlineExceeded] in words for the user.
type tooLong struct{}

func (tooLong) Error() string { return "it took too long" }
func (tooLong) Unwrap() error { return context.DeadlineExceeded }

func failed(host string, exit *ExitError) error {
	return fault.WrapHost(exit, "the command failed on host", host, "")
}

// stragglers is how long a process that outlives the command, such as the master of a shared
// ssh connection, may keep the command's standard error open.
const stragglers = 2 * time.Second

// A process is a program to run with its input and output.
type process struct {
	argv          []string
	env           []string // nil: as this process has it
	stdin         io.Reader
	stdout, watch io.Writer
	limit         time.Duration
	saysBegin     bool                   // as in [Client]
	talks         bool                   // stdin is that of a session
	verbose       bool                   // it is an ssh -v
	apart         bool                   // Ctrl-C must not reach it
	heard         func()                 // called at the first write to standard output; may be nil
	tell          func(line string) bool // see [Terminal.teller]; may be nil
}

// run runs the process to its end, and returns its exit status and the end of its standard
// error. It copies stdin itself, because [exec.Cmd.Wait] would wait for stdin even after the
// command has ended.
func (p process) run(ctx context.Context) (int, *hearing, error) {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watchdog{limit: p.limit, talks: p.talks}
	said := &hearing{watch: p.watch, wait: w.wait, verbose: p.verbose, tell: p.tell, before: p.saysBegin}
	cmd := exec.CommandContext(ctx, p.argv[0], p.argv[1:]...)
	cmd.Env = p.env
	cmd.Stdout = w.output(&firstWord{w: p.stdout, heard: p.heard})
	cmd.Stderr = w.errorOutput(said)
	cmd.WaitDelay = stragglers
	stopGently(cmd)
	if p.apart {
		setApart(cmd)
	}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return 0, said, err
	}
	if err := cmd.Start(); err != nil {
		return 0, said, err
	}
	defer note(cmd.Cancel)()
	if p.limit > 0 {
		go w.look(ctx, cancel, cmd.Process.Pid)
	}
	if p.stdin == nil {
		pipe.Close()
		w.said.Store(true)
	} else {
		go pump(pipe, w.reader(p.stdin))
	}
	err = cmd.Wait()
	said.endGreeting(outer)
	code := status(cmd.ProcessState)
	if !child.Interrupted(cmd.ProcessState, ctx.Done()) && code == ownFault && said.end().last() == "" {
		child.Await(ctx.Done()) // ssh may have caught the signal, and then says nothing
	}
	if cause := context.Cause(ctx); errors.Is(cause, ErrSilent) {
		return 0, said.end(), cause
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if said.end(); code != ownFault || err != nil || ctx.Err() != nil {
		said.show()
	}
	return code, said, err
}

// A firstWord calls heard at the first write.
type firstWord struct {
	w     io.Writer // gets what is written; may be nil
	heard func()
}

func (f *firstWord) Write(p []byte) (int, error) {
	if f.heard != nil && len(p) > 0 {
		f.heard()
		f.heard = nil
	}
	if f.w == nil {
		return len(p), nil
	}
	return f.w.Write(p)
}

func status(s *os.ProcessState) int {
	if s == nil {
		return 0
	}
	return s.ExitCode()
}

// pump copies src to dst and closes dst. It wipes its buffer after each write, since a
// secret may have passed through it.
func pump(dst io.WriteCloser, src io.Reader) {
	defer dst.Close()
	buf := make([]byte, 4<<10)
	for {
		n, rerr := src.Read(buf)
		_, werr := dst.Write(buf[:n])
		clear(buf[:n])
		if rerr != nil || werr != nil {
			return
		}
	}
}

package ssh

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"time"

	"wgkeys/keyring/fault"
)

// A Local is a Runner for the case that the host is this machine.
type Local struct{}

// Run implements [Runner] with /bin/sh.
func (Local) Run(ctx context.Context, command string, stdin io.Reader, stdout io.Writer) error {
	const here = "this machine"
	code, said, err := run(exec.CommandContext(ctx, "/bin/sh", "-c", command), stdin, stdout, nil)
	switch {
	case ctx.Err() != nil:
		return fault.Wrap(context.Cause(ctx), "stopped the command on host", here, "")
	case err != nil:
		return fault.Wrap(err, "cannot run a command on host", here, "")
	case code != 0:
		return failed(here, code, said)
	}
	return nil
}

func failed(host string, code int, said *tail) error {
	return fault.Wrap(&ExitError{code, said.String()}, "the command failed on host", host, "")
}

// stragglers is how long a process that outlives the command, as the master of
// a shared ssh connection does, may keep its standard error open.
const stragglers = 2 * time.Second

// run runs cmd to its end and returns its exit status and the
// end of its standard error. It copies stdin itself, because [exec.Cmd.Wait]
// would wait for a reader that has nothing to say to a dead command.
func run(cmd *exec.Cmd, stdin io.Reader, stdout, watch io.Writer) (int, *tail, error) {
	said := new(tail)
	cmd.Stdout, cmd.Stderr = stdout, said
	if watch != nil {
		cmd.Stderr = io.MultiWriter(said, &lineWriter{w: watch})
	}
	cmd.WaitDelay = stragglers
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return 0, said, err
	}
	if err := cmd.Start(); err != nil {
		return 0, said, err
	}
	if stdin == nil {
		pipe.Close()
	} else {
		go pump(pipe, stdin)
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return status(cmd.ProcessState), said, err
}

func status(s *os.ProcessState) int {
	if s == nil {
		return 0
	}
	return s.ExitCode()
}

// pump copies src to dst and closes dst. It wipes its buffer after each write:
// a secret may have passed through it.
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

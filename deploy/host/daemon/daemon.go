// Package daemon starts this program again as a process that outlives the command: a
// userspace WireGuard device, or a guard that reverts an apply.
//
// The kind of process is its name, the first argument: a program that may start one calls
// [Main] with all of them before anything else.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is something that the program can be run again as.
type Process struct {
	Name string // the first argument
	Args int    // the number of further arguments

	// Run is the whole process. It calls [Detach] once it can do its work; an error before
	// that is passed to the process that started it.
	Run func(args []string) error
}

// Main runs the process that the program was started as, if it is one of these, and exits.
func Main(processes ...Process) {
	for _, p := range processes {
		if os.Args[0] != p.Name || len(os.Args) != 1+p.Args {
			continue
		}
		setComm(p.Name)
		if err := p.Run(os.Args[1:]); err != nil {
			fail(err)
		}
		os.Exit(0)
	}
}

// What the process writes: ready once it can do its work, and detached once it has heard that
// it may. A process that was not sure in time ends.
const (
	ready    = "ready"
	detached = "detached"
)

// Start runs the program as the process name and returns when it is ready. If the caller
// dies before that, the process ends, too; if it writes anything else, that is the error.
func Start(ctx context.Context, name string, args ...string) error {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = name
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	if err := begin(ctx, stdin, stdout); err != nil {
		stdin.Close() // on which it cleans up and ends, unless it has been let go
		end := time.AfterFunc(2*time.Second, func() { cmd.Process.Signal(unix.SIGTERM) })
		kill := time.AfterFunc(4*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		end.Stop()
		kill.Stop()
		return fmt.Errorf("cannot run %s: %w", name, err)
	}
	stdin.Close()
	stdout.Close()
	return cmd.Process.Release()
}

// begin reads that the process is ready and detaches it.
func begin(ctx context.Context, stdin io.Writer, stdout io.ReadCloser) error {
	if err := expect(ctx, stdout, ready); err != nil {
		return err
	}
	if _, err := io.WriteString(stdin, "go\n"); err != nil {
		return err
	}
	return expect(ctx, stdout, detached)
}

// expect reads one line; another one is the error of the process.
func expect(ctx context.Context, stdout io.ReadCloser, want string) error {
	said, err := answer(ctx, stdout)
	switch said = strings.TrimPrefix(said, ready+"\n"); said { // if both lines came at once
	case want:
		return nil
	case "":
		return cmp.Or(err, io.ErrUnexpectedEOF)
	}
	return errors.New(said)
}

// answer reads the one line that the process writes.
func answer(ctx context.Context, r io.ReadCloser) (string, error) {
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer stop()
	line := make([]byte, 256)
	n, err := r.Read(line)
	return strings.TrimSpace(string(line[:n])), err
}

// Detach tells the parent that the process is ready, waits for its answer, and detaches
// from it: if the parent dies before that, so does the process.
func Detach() error {
	signal.Ignore(unix.SIGPIPE) // which the closed pipe of a dead parent would kill it with
	if _, err := fmt.Println(ready); err != nil {
		return err
	}
	if err := permission(limit); err != nil {
		return err
	}
	leaveSession()
	fmt.Println(detached) // if the parent is gone by now, it has let this process go before
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for fd := range 3 {
		if err := unix.Dup2(int(null.Fd()), fd); err != nil {
			return err
		}
	}
	return null.Close()
}

// limit is how long a process waits for its parent.
var limit = 10 * time.Second

// permission waits for the parent's answer, but not for ever: a parent that could not find
// out that its child was started waits for the child's end.
func permission(atMost time.Duration) error {
	heard := make(chan error, 1)
	go func() {
		word := make([]byte, 3)
		_, err := io.ReadFull(os.Stdin, word)
		heard <- err
	}()
	select {
	case err := <-heard:
		if err == nil {
			return nil
		}
	case <-time.After(atMost):
	}
	return errors.New("the command that wanted the process is gone")
}

// leaveSession moves the process out of the control group of the login or the service that
// started it, which may be killed as a whole (KillUserProcesses= in logind.conf(5)). If
// that is not possible, as in a container, there is usually no session manager that would
// kill it.
func leaveSession() {
	const root = "/sys/fs/cgroup/cgroup.procs"
	if f, err := os.OpenFile(root, os.O_WRONLY, 0); err == nil {
		fmt.Fprint(f, os.Getpid())
		f.Close()
	}
}

// fail reports to the parent in one line why the process cannot run.
func fail(err error) {
	fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
	os.Exit(1)
}

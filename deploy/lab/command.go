package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
)

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment returns the environment of commands on a host. It has nothing of the user's.
func environment() []string {
	return []string{
		"PATH=" + searchPath,
		"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh", "LANG=C.UTF-8",
	}
}

// A Cmd is a command that runs on a host. It works like an [exec.Cmd]. Whoever starts it
// has to wait for it, or the host cannot end.
type Cmd struct {
	*exec.Cmd
	host *Host
}

// Command returns a command that runs on the host, in / and with a minimal
// environment. When ctx is done the command is killed; processes that it has
// left in the background stay until the host ends.
func (h *Host) Command(ctx context.Context, name string, args ...string) *Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = environment()
	// A daemon that keeps the output open must not keep Wait from returning.
	cmd.WaitDelay = time.Second
	cmd.Err = errElsewhere
	return &Cmd{cmd, h}
}

// errElsewhere keeps the exec.Cmd within a Cmd from being started on the machine.
var errElsewhere = errors.New("lab: the command is for a host")

// Start starts the command on the host.
//
// It does so from a thread that has entered the host's namespaces, which the command
// inherits: nsenter(1) with its two processes would cost more than most commands of tests.
// The process namespace is only for children of the thread (setns(2)).
func (c *Cmd) Start() error {
	var err error
	entered := c.host.enter(namespaces, func() {
		c.Path, c.Err = lookPath(c.Args[0])
		err = c.Cmd.Start()
	})
	return cmp.Or(entered, err)
}

// Run starts the command and waits for it.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// lookPath finds a program among the files that the current thread sees.
func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(searchPath) {
		program := path.Join(dir, name)
		if st, err := os.Stat(program); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return program, nil
		}
	}
	return "", &exec.Error{Name: name, Err: fs.ErrNotExist}
}

// namespaces are the kinds of namespaces that each host has.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWPID

// enter calls f on a thread that is in the host's namespaces of these kinds. The thread is
// not reused: it ends with its goroutine.
func (h *Host) enter(kinds int, f func()) error {
	fd, err := unix.PidfdOpen(h.PID(), 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(fd)
	onThread(func() {
		if kinds&unix.CLONE_NEWNS != 0 { // setns refuses a thread that shares its directories (setns(2))
			if err = unix.Unshare(unix.CLONE_FS); err != nil {
				err = fmt.Errorf("unshare: %w", err)
				return
			}
		}
		if err = unix.Setns(fd, kinds); err != nil {
			err = fmt.Errorf("setns: %w", err)
			return
		}
		f()
	})
	return err
}

// onThread calls f on a thread that ends afterwards. That cannot be the first thread, which
// does not end, and which /proc shows as the process.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onThread(f)
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

// Run runs a command on the host and returns its standard output. The error has its
// standard error.
func (h *Host) Run(ctx context.Context, args ...string) (string, error) {
	cmd := h.Command(ctx, args[0], args[1:]...)
	out, err := output(cmd.Cmd, cmd.Run)
	if err != nil {
		return out, fault.WrapHost(err, "command failed on host", h.name, "")
	}
	return out, nil
}

// IP runs ip(8) on the host with the words in args:
//
//	h.IP("-6 address add 2001:db8::1/64 dev eth0")
func (h *Host) IP(args string) error {
	_, err := h.Run(context.Background(), append([]string{"ip"}, strings.Fields(args)...)...)
	return err
}

// output returns the standard output of cmd, which run runs. The error has its standard
// error.
func output(cmd *exec.Cmd, run func() error) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the command itself has ended
	}
	if said := strings.TrimSpace(stderr.String()); err != nil && said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return stdout.String(), err
}

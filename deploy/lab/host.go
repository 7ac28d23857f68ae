package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/lazyregexp"
)

// A Host is one machine of a laboratory.
type Host struct {
	name string
	init *exec.Cmd // process 1 of the host
	life *os.File  // the host lives while this is open
	root *os.File  // the host's root folder

	mu   sync.Mutex
	stop []func() // ends what this process does for the host
}

// hostname is what RFC 1123 allows in one label.
var hostname = lazyregexp.New(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Host makes a host. Its only interface is lo; [Lab.Link] adds others.
func (l *Lab) Host(name string) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !hostname().MatchString(name) {
		return nil, fault.New("cannot make the host", name, "a name has lower case letters, digits and hyphens", "")
	}
	if l.hosts[name] != nil {
		return nil, fault.New("cannot make the host", name, "there is one of this name", "")
	}
	h := &Host{name: name}
	if err := h.start(); err != nil {
		h.close()
		return nil, fault.Wrap(err, "cannot make the host", name, "")
	}
	l.hosts[name] = h
	return h, nil
}

// start starts the host's init and waits until it has set the host up.
//
// A parent-death signal would not do: Linux sends it when the thread that
// forked ends (prctl(2)), and a goroutine that entered a namespace ends its
// thread.
func (h *Host) start() error {
	lifeEnd, life, err := os.Pipe()
	if err != nil {
		return err
	}
	defer lifeEnd.Close()
	h.life = life
	ready, readyEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	defer readyEnd.Close()
	cmd := &exec.Cmd{
		Path:       "/proc/self/exe",
		Args:       []string{initName, h.name},
		Env:        environment(),
		Dir:        "/",
		Stdin:      lifeEnd,
		ExtraFiles: []*os.File{readyEnd},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
			Setsid:     true, // the terminal's interrupt is for the owner to act on
		},
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	h.init = cmd
	readyEnd.Close()
	said, err := io.ReadAll(ready)
	if err != nil {
		return err
	}
	if string(said) != readyMark {
		return fmt.Errorf("its init failed: %s", said)
	}
	h.root, err = os.OpenFile("/proc/"+h.pidString()+"/root", unix.O_PATH|unix.O_DIRECTORY, 0)
	return err
}

// close ends the host. The kernel lets process 1 go after all others of its
// namespace (zap_pid_ns_processes), so waiting for it is waiting for all.
func (h *Host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, stop := range h.stop {
		stop()
	}
	if h.root != nil {
		h.root.Close()
	}
	if h.life != nil {
		h.life.Close()
	}
	if h.init != nil {
		h.init.Wait()
	}
}

// Name returns the host's short name.
func (h *Host) Name() string { return h.name }

// PID returns the host's process 1, as the process that made the host sees it.
func (h *Host) PID() int { return h.init.Process.Pid }

func (h *Host) pidString() string { return strconv.Itoa(h.PID()) }

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is what a command on a host starts with: nothing of the user's.
func environment() []string {
	return []string{
		"PATH=" + searchPath,
		"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh", "LANG=C.UTF-8",
	}
}

// Command returns a command that runs on the host, in / and with a minimal
// environment. When ctx is done the command is killed; processes that it has
// left in the background stay until the host ends.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	argv := []string{"--target", h.pidString(), "--mount", "--uts", "--ipc", "--net", "--pid", "--",
		// For callers that kill nsenter: the command goes with it.
		"setpriv", "--pdeathsig", "KILL", "--", name}
	cmd := exec.CommandContext(ctx, "nsenter", append(argv, args...)...)
	cmd.Env = environment()
	cmd.Cancel = func() error { return killChildren(cmd.Process) }
	// A daemon that keeps the output open does not keep the caller waiting.
	cmd.WaitDelay = time.Second
	return cmd
}

// killChildren kills what nsenter runs: it forks to enter a process namespace,
// and leaves with its child. If it were killed first, the child would be left
// for the machine's init to reap, and until then the host could not end.
func killChildren(nsenter *os.Process) error {
	pid := strconv.Itoa(nsenter.Pid)
	list, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	children := strings.Fields(string(list))
	if err != nil || len(children) == 0 {
		return nsenter.Kill()
	}
	for _, c := range children {
		if pid, err := strconv.Atoi(c); err == nil {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
	return nil
}

// Run runs a command on the host and returns what it wrote to standard output.
// The error holds what it wrote to standard error.
func (h *Host) Run(ctx context.Context, args ...string) (string, error) {
	out, err := output(h.Command(ctx, args[0], args[1:]...))
	if err != nil {
		return out, fault.WrapHost(err, "command failed on host", h.name, "")
	}
	return out, nil
}

// IP runs ip(8) on the host with the words of args:
//
//	h.IP("-6 address add 2001:db8::1/64 dev eth0")
func (h *Host) IP(args string) error {
	_, err := h.Run(context.Background(), append([]string{"ip"}, strings.Fields(args)...)...)
	return err
}

// inNetwork calls f on a thread that is in the host's network namespace. The
// thread is not given back: it ends with its goroutine.
func (h *Host) inNetwork(f func()) error {
	ns, err := os.Open("/proc/" + h.pidString() + "/ns/net")
	if err != nil {
		return err
	}
	defer ns.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}

// linkUp sets an interface up, without duplicate address detection.
func (h *Host) linkUp(ifname string) error {
	// The files of /proc/sys/net are those of the reader's own network
	// namespace, so it is a process on the host that has to write.
	const script = `echo 0 >"/proc/sys/net/ipv6/conf/$1/accept_dad" && exec ip link set "$1" up`
	_, err := h.Run(context.Background(), "sh", "-c", script, "sh", ifname)
	return err
}

// output runs cmd. Its error tells the command's own words.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the command itself is done
	}
	if said := strings.TrimSpace(stderr.String()); err != nil && said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return stdout.String(), err
}

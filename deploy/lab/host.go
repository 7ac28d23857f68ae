package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/lazyregexp"
)

// A Host is a machine of a laboratory.
type Host struct {
	name string
	init *exec.Cmd // process 1 of the host
	life *os.File  // the host lives while this is open
	root *os.File  // the host's root directory

	mu   sync.Mutex
	stop []func() // stop what this process does for the host
}

// hostname matches a label of RFC 1123.
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

// start starts the host's init and waits until it has set up the host.
//
// The init ends when its standard input is closed. A parent-death signal would not do:
// Linux sends it when the thread that forked ends (prctl(2)), and a goroutine that entered
// a namespace ends its thread.
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
			Setsid:     true, // an interrupt from the terminal is for the owner only
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

// close ends the host. The kernel ends process 1 only after all others of its namespace
// (zap_pid_ns_processes), so waiting for it is waiting for all.
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

// Name returns the short name of the host.
func (h *Host) Name() string { return h.name }

// PID returns the process ID of the host's process 1 in the namespace of its owner.
func (h *Host) PID() int { return h.init.Process.Pid }

func (h *Host) pidString() string { return strconv.Itoa(h.PID()) }

// linkUp sets an interface up without duplicate address detection.
func (h *Host) linkUp(ifname string) error {
	// /proc/sys/net shows the network namespace of the process that opens it, so a process
	// on the host has to write.
	const script = `echo 0 >"/proc/sys/net/ipv6/conf/$1/accept_dad" && exec ip link set "$1" up`
	_, err := h.Run(context.Background(), "sh", "-c", script, "sh", ifname)
	return err
}

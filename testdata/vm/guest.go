package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// guest is process 1 of the machine. It says "started" and "exit N" on the
// status port, or what keeps it from that, and switches the machine off.
func guest() {
	code, status, err := work()
	if err != nil && status != nil {
		fmt.Fprintln(status, err)
	} else if err != nil {
		fmt.Println("vm:", err) // the kernel's console is all there is
	} else {
		fmt.Fprintln(status, "exit", code)
	}
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func work() (code int, status *os.File, err error) {
	if err := mountAll(); err != nil {
		return 0, nil, err
	}
	if err := loadModules(); err != nil {
		return 0, nil, err
	}
	status, err = openPort("/dev/vport0p2")
	if err != nil {
		return 0, nil, err
	}
	out, err := openPort("/dev/vport0p1")
	if err != nil {
		return 0, status, err
	}
	if err := unix.Sethostname([]byte("vm")); err != nil {
		return 0, status, err
	}
	if text, err := exec.Command("/usr/sbin/ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return 0, status, fmt.Errorf("ip: %w: %s", err, text)
	}
	// All hosts of a laboratory share this machine's one queue between interfaces
	// (netdev_max_backlog, sysctl documentation net.rst), where each would have its own.
	if err := os.WriteFile("/proc/sys/net/core/netdev_max_backlog", []byte("100000"), 0); err != nil {
		return 0, status, err
	}
	text, err := os.ReadFile(jobFile)
	if err != nil {
		return 0, status, err
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return 0, status, err
	}
	fmt.Fprintln(status, "started")
	code, err = j.run(out)
	return code, status, err
}

// mountAll mounts what every Linux program expects.
func mountAll() error {
	for _, m := range []struct{ kind, at, data string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"devpts", "/dev/pts", "ptmxmode=0666,gid=5,mode=620"},
		{"tmpfs", "/dev/shm", ""},
		{"tmpfs", "/run", "mode=755"},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	for link, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "fd/0", "/dev/stdout": "fd/1", "/dev/stderr": "fd/2",
	} {
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	return nil
}

// loadModules loads the modules in the order that findModules has found.
func loadModules() error {
	list, err := os.ReadFile(modulesFile)
	if err != nil {
		return err
	}
	for _, path := range strings.Fields(string(list)) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

// openPort opens a port, which appears some time after its driver is loaded.
func openPort(path string) (*os.File, error) {
	for range 500 {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, errors.New("no port " + path)
}

// run runs the test binary and returns its exit status. The binary writes to a
// pipe, as under `go test`: a port can only be opened once, and a test may
// open /dev/stderr.
func (j job) run(out io.Writer) (int, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		io.Copy(out, r)
	}()
	cmd := exec.Command(j.Binary, j.Args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = j.Dir, j.Env, w, w
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	w.Close()
	code := reapUntil(cmd.Process.Pid)
	select {
	case <-copied:
	case <-time.After(time.Second): // a daemon has the pipe still open
	}
	return code, nil
}

// reapUntil waits for all processes that end, orphans too, until pid does.
func reapUntil(pid int) int {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		if err != nil || got != pid {
			continue
		}
		if ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return ws.ExitStatus()
	}
}

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A machine is one run of the virtual machine.
type machine struct {
	kernel string
	initrd [][]byte
	limits limits
	stdout io.Writer
}

// limits is how long a machine may take.
type limits struct {
	boot time.Duration // until the tests start
	test time.Duration // from then on
	talk bool          // whether to say how long it took
}

// grace is what a test binary needs to report its own timeout.
const grace = 30 * time.Second

func limitsOf(args []string) limits {
	l := limits{boot: 10 * time.Minute, test: 10*time.Minute + grace}
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, "-test.timeout="); ok {
			if d, err := time.ParseDuration(v); err == nil {
				l.test = d + grace
			}
		}
		l.talk = l.talk || a == "-test.v=true" || a == "-test.v"
	}
	if l.test == grace {
		l.test = 24 * time.Hour // -timeout 0: none
	}
	return l
}

// run starts the machine and returns the exit status of the tests.
//
// The tests' output and their status each have a port of their own, which
// carries bytes as they are. The serial line is the kernel's alone.
func (m machine) run() (int, error) {
	initrd, err := memoryFile(m.initrd)
	if err != nil {
		return 0, err
	}
	defer initrd.Close()
	output, outputEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer output.Close()
	status, statusEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer status.Close()
	console := new(tail)
	cmd := exec.Command("qemu-system-x86_64", m.arguments()...)
	cmd.Stdout, cmd.Stderr = console, console
	cmd.ExtraFiles = []*os.File{outputEnd, statusEnd, initrd} // 3, 4, 5
	// The terminal's interrupt is ours to act on, and QEMU goes when we do. The
	// signal comes when the thread ends that started it: main keeps its own.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	start := time.Now()
	err = cmd.Start()
	outputEnd.Close()
	statusEnd.Close()
	if errors.Is(err, exec.ErrNotFound) {
		return 0, errors.New("qemu-system-x86_64 is not installed: run `sudo make test`")
	} else if err != nil {
		return 0, err
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		io.Copy(m.stdout, output)
	}()
	code, err := m.follow(status, start)
	if err != nil {
		cmd.Process.Kill()
	}
	// A machine that is done switches itself off.
	kill := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
	defer kill.Stop()
	cmd.Wait()
	<-copied
	if err != nil {
		return 0, fmt.Errorf("%w; the kernel's last lines:\n%s", err, console)
	}
	return code, nil
}

// arguments are QEMU's. It emulates even where there is KVM: a nested one that
// is not complete ends QEMU at an assertion. -cpu max has a random number
// generator, without which the guest would wait for entropy. Each repetition of a string
// instruction counts as one: without erms and fsrm the kernel clears and copies eight bytes
// with each, not one.
//
// The guest's clock counts instructions, 2^shift nanoseconds each, and goes with
// the host's only while the guest sleeps. However slow the emulation and however
// busy the host, in its own time the guest is a steady processor of 500 million
// instructions a second (shift 1): what it measures is true of such a machine.
// There is one processor, because QEMU counts the instructions of several in turn.
func (m machine) arguments() []string {
	shift := cmp.Or(os.Getenv("WGKEYS_LAB_SHIFT"), "1")
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-accel", "tcg,thread=single", "-icount", "shift=" + shift + ",sleep=on", "-cpu", "max,erms=off,fsrm=off", "-smp",
		"1", "-m", "2048",
		"-kernel", m.kernel, "-initrd", "/dev/fd/5",
		"-append", "console=ttyS0 loglevel=4 panic=-1 nokaslr mitigations=off wgkeys.lab=vm",
		"-serial", "stdio",
		"-device", "virtio-serial-pci",
		"-chardev", "file,id=output,path=/dev/fd/3", "-device", "virtserialport,chardev=output,nr=1",
		"-chardev", "file,id=status,path=/dev/fd/4", "-device", "virtserialport,chardev=status,nr=2",
	}
}

// follow reads what the guest says of itself: "started", then "exit N".
func (m machine) follow(status io.Reader, start time.Time) (int, error) {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(status); s.Scan(); {
			lines <- s.Text()
		}
	}()
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	timeout := time.After(m.limits.boot)
	for {
		select {
		case line, ok := <-lines:
			switch {
			case !ok:
				return 0, errors.New("the machine died")
			case line == "started":
				m.say("the tests start", start)
				timeout = time.After(m.limits.test)
			case strings.HasPrefix(line, "exit "):
				m.say("the tests are done", start)
				return strconv.Atoi(line[len("exit "):])
			default:
				return 0, errors.New("in the machine: " + line)
			}
		case <-timeout:
			return 0, fmt.Errorf("no end after %v", time.Since(start).Round(time.Second))
		case sig := <-interrupt:
			return 0, fmt.Errorf("%v", sig)
		}
	}
}

func (m machine) say(what string, start time.Time) {
	if m.limits.talk {
		fmt.Fprintf(os.Stderr, "vm: %s after %.1fs\n", what, time.Since(start).Seconds())
	}
}

// memoryFile holds the initramfs: a file with no name, that a killed program
// cannot leave behind.
func memoryFile(parts [][]byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("initramfs", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "initramfs")
	for _, p := range parts {
		if _, err := f.Write(p); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// A tail keeps the last lines of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > 1<<16 {
		t.buf = bytes.Clone(t.buf[len(t.buf)-1<<15:])
	}
	return len(p), nil
}

// String returns the last 40 lines, or as many as the kernel's last words take:
// how long a call trace is depends on what lies on the stack.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(bytes.ReplaceAll(t.buf, []byte("\r"), nil)), []byte("\n"))
	from := max(0, len(lines)-40)
	for i, line := range lines[:from] {
		if bytes.Contains(line, []byte("Kernel panic")) {
			from = i
			break
		}
	}
	return string(bytes.Join(lines[from:], []byte("\n")))
}

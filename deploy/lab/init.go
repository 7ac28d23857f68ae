package lab

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
)

// initName is argv[0] of a host's init. It is no environment variable, because everything
// that the program starts would inherit that.
const initName = "wgkeys-lab-host"

var initialised bool

// Init runs a host's init, and does not return, if the process was started as one. A
// program that makes a laboratory starts itself again for each host, so Init has to be the
// first call in its main or TestMain.
func Init() {
	if len(os.Args) == 2 && os.Args[0] == initName {
		os.Exit(runInit(os.Args[1], os.Stdin, os.NewFile(3, "ready")))
	}
	initialised = true
}

// runInit is process 1 of a host. It writes to ready when the host is set up, or why that
// failed, and runs until life is closed, to which nobody writes.
func runInit(name string, life io.Reader, ready io.WriteCloser) int {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	if err := setUp(name); err != nil {
		fmt.Fprint(ready, err)
		return 1
	}
	io.WriteString(ready, readyMark)
	ready.Close()
	go reap(children)
	io.Copy(io.Discard, life)
	return 0
}

const readyMark = "ready"

// reap waits for the orphans that process 1 adopts, such as daemons.
func reap(children <-chan os.Signal) {
	for range children {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if err == unix.EINTR {
				continue
			}
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}

// setUp makes a host of the new namespaces that the process is in.
func setUp(name string) error {
	// The program may be large, but a host's init has hardly anything to do.
	runtime.GOMAXPROCS(1)
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set the hostname: %w", err)
	}
	if err := mountFiles(); err != nil {
		return err
	}
	if err := writeFiles(name); err != nil {
		return err
	}
	return loopbackUp()
}

// loopbackUp sets the loopback interface up, as `ip link set lo up` does.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

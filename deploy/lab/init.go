package lab

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
)

// initName is argv[0] of a host's init. No environment variable tells it, for
// that would be inherited by whatever else the program starts.
const initName = "wgkeys-lab-host"

var initialised bool

// Init turns the process into a host's init if it was started as one, and then
// does not return. A program that makes a laboratory starts itself again for
// each host, so Init must be the first call of its main or TestMain.
func Init() {
	if len(os.Args) == 2 && os.Args[0] == initName {
		os.Exit(runInit(os.Args[1], os.Stdin, os.NewFile(3, "ready")))
	}
	initialised = true
}

// runInit is process 1 of a host. It tells ready when the host is set up, or
// why it cannot be, and stays until life, which nobody writes to, is closed.
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

// reap waits for the orphans that process 1 inherits, such as daemons.
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

// setUp makes a host out of the fresh namespaces the process is in.
func setUp(name string) error {
	// The program may be large, and a host's init has next to nothing to do.
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

// loopbackUp does what `ip link set lo up` does.
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

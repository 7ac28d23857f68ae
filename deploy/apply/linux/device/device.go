// Package device runs WireGuard in user space, for hosts whose kernel has
// none: containers, old kernels, the demo.
//
// The device is a process of its own, "wgkeys-device NAME", which is this very
// program run again. It outlives the command that starts it, is configured
// through the socket that wg(8) knows, /var/run/wireguard/NAME.sock, and ends
// when the interface is removed.
package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	wireguard "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"
)

// process is the name under which the program runs as a device.
const process = "wgkeys-device"

// Main runs the device and exits, if the program was started as one. It is the
// first call of every main that may call [Start].
func Main() {
	if len(os.Args) != 3 || os.Args[0] != process {
		return
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(1)
	}
	os.Exit(0)
}

// ready is what the device says once its interface and its socket are there.
const ready = "ready"

// Start makes the interface name in a process of its own and returns when it
// can be configured. If the caller dies before that, the process ends too.
func Start(ctx context.Context, name string, mtu int) error {
	cmd := exec.Command("/proc/self/exe", name, strconv.Itoa(mtu))
	cmd.Args[0] = process
	cmd.Dir = "/"
	cmd.Env = []string{}
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
		return fmt.Errorf("cannot start WireGuard in user space: %w", err)
	}
	said, err := answer(ctx, stdout)
	if said != ready {
		stdin.Close()
		cmd.Process.Kill()
		cmd.Wait()
		return fmt.Errorf("cannot run WireGuard in user space: %w", errors.Join(err, errors.New(said)))
	}
	if _, err := io.WriteString(stdin, "go\n"); err != nil {
		return fmt.Errorf("cannot run WireGuard in user space: %w", err)
	}
	return cmd.Process.Release()
}

// answer reads the one line that the device says.
func answer(ctx context.Context, r io.ReadCloser) (string, error) {
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer stop()
	line := make([]byte, 256)
	n, err := r.Read(line)
	return strings.TrimSpace(string(line[:n])), err
}

// Gone waits until the device of the removed interface name has ended.
func Gone(name string, atMost time.Duration) error {
	for end := time.Now().Add(atMost); ; time.Sleep(2 * time.Millisecond) {
		_, err := os.Stat(socket(name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the device of %s still holds its socket %s", name, socket(name))
		}
	}
}

func socket(name string) string { return "/var/run/wireguard/" + name + ".sock" }

func run(name, mtuText string) error {
	mtu, err := strconv.Atoi(mtuText)
	if err != nil {
		return err
	}
	link, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return err
	}
	listener, err := listen(name)
	if err != nil {
		return errors.Join(err, link.Close())
	}
	d := wireguard.NewDevice(link, conn.NewDefaultBind(), wireguard.NewLogger(wireguard.LogLevelSilent, ""))
	defer d.Close()
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				d.Close()
				return
			}
			go d.IpcHandle(c)
		}
	}()
	if err := detach(); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT)
	select {
	case <-stop:
	case <-d.Wait():
	}
	return nil
}

// listen opens the configuration socket. One left by a device that was killed
// is replaced.
func listen(name string) (net.Listener, error) {
	file, err := ipc.UAPIOpen(name)
	if err != nil {
		return nil, err
	}
	return ipc.UAPIListen(name, file)
}

// detach tells the parent that the device is ready, waits for its word, and
// lets go of it: a parent that dies before then takes the device along.
func detach() error {
	if _, err := fmt.Println(ready); err != nil {
		return err
	}
	word := make([]byte, 3)
	if _, err := io.ReadFull(os.Stdin, word); err != nil {
		return errors.New("the command that wanted the device is gone")
	}
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

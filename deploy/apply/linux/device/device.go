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
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	wireguard "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"

	"wgkeys/deploy/host/daemon"
	"wgkeys/keyring/fault"
)

// process is the name under which the program runs as a device.
const process = "wgkeys-device"

// Process is the device: NAME MTU. Every program that may call [Start] gives it to
// [daemon.Main].
var Process = daemon.Process{Name: process, Args: 2, Run: func(args []string) error { return run(args[0], args[1]) }}

// Start makes the interface name in a process of its own and returns when it
// can be configured. If the caller dies before that, the process ends too.
func Start(ctx context.Context, name string, mtu int) error {
	if err := Gone(name, remains); err != nil { // of the interface that was there before
		return err
	}
	return daemon.Start(ctx, process, name, strconv.Itoa(mtu))
}

// remains is how long the process of a device may take to end when its interface is gone.
const remains = 5 * time.Second

// Gone waits until the device of the removed interface name has ended.
func Gone(name string, atMost time.Duration) error {
	for end := time.Now().Add(atMost); ; time.Sleep(2 * time.Millisecond) {
		_, err := os.Stat(Socket(name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if c, err := net.Dial("unix", Socket(name)); err == nil {
			c.Close()
		} else if errors.Is(err, unix.ECONNREFUSED) { // of one that was killed
			return os.Remove(Socket(name))
		}
		if time.Now().After(end) {
			return errRemains
		}
	}
}

// A process of a device may be stopped, or hang. The error that these are part of names
// the tunnel.
var (
	ErrStopped = fault.New("the process of its device is there and does not answer: it is stopped, or hangs", "", "",
		"pgrep -af wgkeys-device shows it; kill -CONT lets one that is stopped go on, and after kill -9 wgkeys apply makes another")
	errRemains = fault.New("the interface is gone, and the process of its device is still there: it is stopped, or hangs",
		"", "", "pgrep -af wgkeys-device shows it; kill -CONT lets one that is stopped end, and kill -9 ends any")
)

// Socket is where the device of interface name is configured.
func Socket(name string) string { return "/var/run/wireguard/" + name + ".sock" }

func run(name, mtuText string) error {
	mtu, err := strconv.Atoi(mtuText)
	if err != nil {
		return err
	}
	daemon.Hurry(-10) // the kernel's WireGuard is not kept waiting either
	link, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return err
	}
	if err := lengthen(name); err != nil {
		return errors.Join(err, link.Close())
	}
	listener, err := listen(name)
	if err != nil {
		return errors.Join(err, link.Close())
	}
	sockets, gate := newBind(), &gate{Device: link}
	holds, err := gate.serve(name)
	if err != nil {
		return errors.Join(err, listener.Close(), link.Close())
	}
	d := wireguard.NewDevice(gate, sockets, wireguard.NewLogger(wireguard.LogLevelSilent, ""))
	defer d.Close()
	defer listener.Close()
	defer sockets.end() // before Gone sees that the listener is
	defer holds.Close()
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
	if err := followRoutes(d, name); err != nil {
		return err
	}
	if err := daemon.Detach(); err != nil {
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
	l, err := ipc.UAPIListen(name, file)
	if err != nil { // it has the socket by then, and leaves it
		err = errors.Join(err, file.Close(), os.Remove(Socket(name)))
	}
	if errors.Is(err, unix.EMFILE) { // of inotify_init(2): the process has few files open itself
		err = errors.New("the programs of this user have as many inotify instances open as they may: " +
			"sysctl -w fs.inotify.max_user_instances=1024")
	}
	return l, err
}

// queueLength is how many packets wait in the kernel until the device has read them.
// With the 500 that it makes them, 20,000 a second are lost when the device does not
// get to read for 25 ms, as on a machine with more to do than processors.
const queueLength = 2000

// lengthen does it before the interface is up: to change the queue of one that is
// throws away what is in it (dev_qdisc_change_tx_queue_len in net/sched/sch_generic.c).
func lengthen(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetTxQLen(link, queueLength)
}

// Outdated are the interfaces whose device is a process of another program than the one
// that lies at path now: it goes on in the one that it was started from.
func Outdated(path string) (names []string) {
	now, err := os.Stat(path)
	if err != nil {
		return nil
	}
	processes, _ := filepath.Glob("/proc/[0-9]*") // the pattern is a good one
	for _, p := range processes {
		args, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		f := strings.Split(string(args), "\x00")
		if len(f) < 2 || f[0] != process {
			continue
		}
		here := same(filepath.Join(p, "ns/net"), "/proc/self/ns/net") // else it is a container's
		if its, err := os.Stat(filepath.Join(p, "exe")); here && err == nil && !os.SameFile(its, now) {
			names = append(names, f[1])
		}
	}
	slices.Sort(names)
	return names
}

func same(a, b string) bool {
	one, errA := os.Stat(a)
	two, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(one, two)
}

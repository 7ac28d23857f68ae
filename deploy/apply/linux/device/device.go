// Package device runs WireGuard in user space, for hosts whose kernel has none: containers,
// old kernels, the demo.
//
// The device is a process of its own, "wgkeys-device NAME MTU", which is this same program
// run again. It outlives the command that starts it. It is configured through the socket
// that wg(8) uses, /var/run/wireguard/NAME.sock, and ends when the interface is removed.
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

// process is argv[0] of the program when it runs as a device.
const process = "wgkeys-device"

// Process is the device's process, with the arguments NAME and MTU. Every program that may
// call [Start] has to give it to [daemon.Main].
var Process = daemon.Process{Name: process, Args: 2, Run: func(args []string) error { return run(args[0], args[1]) }}

// Start makes the interface name, with the given MTU in bytes, in a process of its own. It
// returns when the device can be configured. If the caller dies before that, the process
// ends too.
func Start(ctx context.Context, name string, mtu int) error {
	if err := Gone(name, remains); err != nil { // the process of an earlier interface of that name
		return err
	}
	return daemon.Start(ctx, process, name, strconv.Itoa(mtu))
}

// remains is how long the process of a device may take to end after its interface is gone.
const remains = 5 * time.Second

// Gone waits until the device of the removed interface name has ended, and returns an error
// if that takes longer than atMost.
func Gone(name string, atMost time.Duration) error {
	for end := time.Now().Add(atMost); ; time.Sleep(2 * time.Millisecond) {
		_, err := os.Stat(Socket(name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := Sweep(name); err != nil {
			return err
		}
		if time.Now().After(end) {
			return errRemains
		}
	}
}

// Sweep removes the sockets of a device whose process was killed, if there are any.
func Sweep(name string) error {
	c, err := net.Dial("unix", Socket(name))
	switch {
	case err == nil:
		return c.Close()
	case errors.Is(err, unix.ECONNREFUSED):
		if err := os.Remove(holdSocket(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Remove(Socket(name))
	}
	return nil
}

// Errors of a device whose process is stopped or hangs. The caller's error names the
// tunnel.
var (
	ErrStopped = fault.New("the process of its device is there and does not answer: it is stopped, or hangs", "", "",
		"pgrep -af wgkeys-device shows it; kill -CONT lets one that is stopped go on, and after kill -9 wgkeys apply makes another")
	errRemains = fault.New("the interface is gone, and the process of its device is still there: it is stopped, or hangs, "+
		"or somebody moved the interface to another network namespace",
		"", "", "pgrep -af wgkeys-device shows it; kill -CONT lets one that is stopped end, and kill -9 ends any")
)

// Socket returns the path of the configuration socket of interface name
// (https://www.wireguard.com/xplatform/).
func Socket(name string) string { return "/var/run/wireguard/" + name + ".sock" }

func run(name, mtuText string) error {
	mtu, err := strconv.Atoi(mtuText)
	if err != nil {
		return err
	}
	daemon.Hurry(-10) // the kernel's WireGuard need not wait for other processes either
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
	defer sockets.end() // before the listener, at whose end Gone returns
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
	if err := followRoutes(d, sockets, name); err != nil {
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

// listen opens the configuration socket. It replaces one left by a device that was killed.
func listen(name string) (net.Listener, error) {
	file, err := ipc.UAPIOpen(name)
	if err != nil {
		return nil, err
	}
	l, err := ipc.UAPIListen(name, file)
	if err != nil { // UAPIListen leaves the socket behind
		err = errors.Join(err, file.Close(), os.Remove(Socket(name)))
	}
	if errors.Is(err, unix.EMFILE) { // from inotify_init(2); the process itself has few files open
		err = errors.New("the programs of this user have as many inotify instances open as they may: " +
			"sysctl -w fs.inotify.max_user_instances=1024")
	}
	return l, err
}

// queueLength is how many packets the kernel queues until the device has read them. The
// default is 500, with which 20,000 packets a second begin to be lost when the device does
// not run for 25 ms, as on a busy machine.
const queueLength = 2000

// lengthen sets the queue's length before the interface is up. On an interface that is up,
// the change would drop what is queued (dev_qdisc_change_tx_queue_len in
// net/sched/sch_generic.c).
func lengthen(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetTxQLen(link, queueLength)
}

// Outdated returns the interfaces of this network namespace whose device runs another
// program than the one at path now, as after an upgrade. Such a device works on until it is
// restarted.
func Outdated(path string) (names []string) {
	now, err := os.Stat(path)
	if err != nil {
		return nil
	}
	processes, _ := filepath.Glob("/proc/[0-9]*") // the pattern is valid
	for _, p := range processes {
		args, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		f := strings.Split(string(args), "\x00")
		if len(f) < 2 || f[0] != process {
			continue
		}
		here := same(filepath.Join(p, "ns/net"), "/proc/self/ns/net") // otherwise it belongs to a container
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

// Package linux is the real kernel behind package apply: netlink, WireGuard's
// own configuration protocol and /proc/sys. Nothing else in wgkeys talks to
// them.
//
// Where the kernel has no WireGuard, a device in user space takes its place
// (package device); wg(8) and this package speak to both alike.
//
// A Kernel sees the network namespace of the process that opened it.
package linux

import (
	"errors"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/lookup"
	"wgkeys/deploy/apply/linux/sysctl"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/keyring/fault"
)

// A Kernel implements [apply.Kernel]. It is for one goroutine.
type Kernel struct {
	nl     *netlink.Handle
	wg     *wg.Client
	sys    *sysctl.Root
	links  map[string]netlink.Link // by name, while changes are being made
	routes map[apply.Route]bool    // of the link, while routes are being removed

	names lookup.Recent

	expected int // about so many peers and routes, as in the view

	narrowRoute bool // a route that was read says that its path is narrow; see observePaths
}

// Open connects to the kernel. It needs no rights; changing anything does.
func Open() (*Kernel, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fault.Wrap(err, "cannot talk to the kernel's", "rtnetlink", "")
	}
	wg, err := wg.Open()
	if err != nil {
		nl.Close()
		return nil, err
	}
	sys, err := sysctl.Open()
	if err != nil {
		nl.Close()
		wg.Close()
		return nil, err
	}
	return &Kernel{nl: nl, wg: wg, sys: sys}, nil
}

// Close ends the connections.
func (k *Kernel) Close() {
	k.nl.Close()
	k.wg.Close()
	k.sys.Close()
}

// link returns the interface, or nil where there is none of that name.
func (k *Kernel) link(name string) (netlink.Link, error) {
	if l := k.links[name]; l != nil {
		return l, nil
	}
	l, err := k.nl.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err == nil && k.links != nil {
		k.links[name] = l
	}
	return l, err
}

// translate puts the kernel's error numbers into the user's words.
func translate(err error) error {
	err = wg.Errno(err)
	switch {
	case err == nil:
		return nil
	case (errors.Is(err, unix.EPERM) || errors.Is(err, fs.ErrPermission)) && os.Geteuid() != 0:
		return fault.New("no right to change the network", "", "", fault.AsRoot)
	case errors.Is(err, unix.EPERM) && !mayChangeNetwork():
		return apply.ErrNoRight
	case errors.Is(err, unix.EADDRINUSE):
		return fault.New("the port is in use already", "", "", apply.HintPort)
	case errors.Is(err, unix.ENETDOWN):
		return errors.New("the interface is down")
	}
	return err
}

// mayChangeNetwork reports whether this thread has CAP_NET_ADMIN (capabilities(7)).
func mayChangeNetwork() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	err := unix.Capget(&header, &sets[0])
	return err != nil || sets[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
}

// Package linux is the real kernel behind package apply: rtnetlink, WireGuard's
// configuration protocols, nftables and /proc/sys. Each has a package below this one, and
// nothing else in wgkeys talks to them.
//
// Where the kernel has no WireGuard, a device in user space takes its place (package
// device); wg(8) and this package talk to both in the same way.
//
// A Kernel acts on the network namespace of the process that opened it.
package linux

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/linux/link"
	"wgkeys/deploy/apply/linux/lookup"
	"wgkeys/deploy/apply/linux/route"
	"wgkeys/deploy/apply/linux/sysctl"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/keyring/fault"
)

// RunDir is the directory of the journals. It is empty after a reboot, as the kernel's
// network configuration is.
const RunDir = "/run/wgkeys"

// A Kernel implements [apply.Kernel]. It is not safe for concurrent use.
type Kernel struct {
	nl     *netlink.Handle
	wg     *wg.Client
	sys    *sysctl.Root
	links  *link.Links
	routes *route.Table
	names  lookup.Recent
}

// Open connects to the kernel. It needs no privileges, but most changes need CAP_NET_ADMIN.
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
	routes := route.New(nl)
	return &Kernel{nl: nl, wg: wg, sys: sys, links: link.New(nl, wg, sys, routes), routes: routes}, nil
}

// Close closes the netlink sockets and /proc/sys.
func (k *Kernel) Close() {
	k.nl.Close()
	k.wg.Close()
	k.sys.Close()
}

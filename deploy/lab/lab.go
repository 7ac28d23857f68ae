// Package lab makes hosts on which to try wgkeys. A host is a set of Linux namespaces with
// a hostname, a process tree, a network and files of its own; links connect it to others.
// `wgkeys demo` runs on such hosts, and so do the tests.
//
// A host has the machine's files under a layer in memory. No other host and no disk sees
// what a host writes, and the machine's own WireGuard configuration, keys and ssh keys are
// hidden. A host ends with the process that made it, however that ends: the host's init
// holds one end of a pipe and ends when the other is closed, and the kernel then ends all
// other processes of the host.
//
// The package needs root, iproute2 and, for [Host.StartSSHD], OpenSSH. It has nothing to do
// with WireGuard: hosts have what the machine has.
package lab

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
)

// A Lab is a set of hosts. It is safe for concurrent use.
type Lab struct {
	mu    sync.Mutex
	hosts map[string]*Host
}

// New returns a laboratory without hosts. [Init] must have been called before.
func New() (*Lab, error) {
	if !initialised {
		return nil, errors.New("lab: Init was not called at the start of main")
	}
	if os.Geteuid() != 0 {
		return nil, fault.New("cannot make a laboratory", "", "it takes root to make network namespaces",
			"sudo "+strings.Join(os.Args, " "))
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return nil, fault.New("cannot make a laboratory without the command", "ip", "it is not installed",
			"apt-get install iproute2")
	}
	if err := refuseChroot(); err != nil {
		return nil, err
	}
	return &Lab{hosts: make(map[string]*Host)}, nil
}

// Close ends all hosts. When it returns, none of their processes is left.
func (l *Lab) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.hosts {
		h.close()
	}
	clear(l.hosts)
}

// Link connects a and b with a pair of veth interfaces named aIf and bIf, and sets both up.
// Duplicate address detection is turned off on both, because it would delay each new
// address by a second.
func (l *Lab) Link(a *Host, aIf string, b *Host, bIf string) error {
	// Both ends are made in their namespaces, so that a crash leaves none behind.
	cmd := exec.Command("ip", "link", "add", "name", aIf, "netns", a.pidString(),
		"type", "veth", "peer", "name", bIf, "netns", b.pidString())
	if _, err := output(cmd, cmd.Run); err != nil {
		return fault.Wrap(err, "cannot link the hosts", a.name+" and "+b.name, "")
	}
	return errors.Join(a.linkUp(aIf), b.linkUp(bIf))
}

// Kernel returns the kind of laboratory: "vm" on the kernel that testdata/vm boots, which
// has WireGuard, or "netns" on the machine's own kernel.
func Kernel() string {
	line, err := os.ReadFile("/proc/cmdline")
	if err == nil && bytes.Contains(line, []byte("wgkeys.lab=vm")) {
		return "vm"
	}
	return "netns"
}

// HasWireGuard reports whether the kernel has WireGuard, loaded or as a module. Hosts
// without it use the device in user space.
func HasWireGuard() bool {
	if _, err := os.Stat("/sys/module/wireguard"); err == nil {
		return true
	}
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	dir := "/lib/modules/" + unix.ByteSliceToString(u.Release[:])
	for _, list := range []string{"modules.dep", "modules.builtin"} {
		if b, err := os.ReadFile(dir + "/" + list); err == nil && bytes.Contains(b, []byte("/wireguard.ko")) {
			return true
		}
	}
	return false
}

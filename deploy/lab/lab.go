// Package lab makes hosts for trying wgkeys out: each is a set of Linux
// namespaces with a hostname, a process tree, a network and files of its own,
// joined to others by links. `wgkeys demo` shows itself on such hosts, and the
// tests run on them.
//
// A host's files are the machine's, under a layer in memory: what a host
// writes, no other host and no disk sees, and the machine's own WireGuard
// configuration, keys and ssh keys are hidden from it. A host lives no longer
// than the process that made it, however that ends: its init holds one end of
// a pipe and leaves when the other is closed, and the kernel then ends all that
// ran there.
//
// The package needs root, iproute2 and, for [Host.StartSSHD], OpenSSH. It says nothing
// about WireGuard: hosts have what the machine has.
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

// A Lab is a set of hosts. Its methods may be called from several goroutines.
type Lab struct {
	mu    sync.Mutex
	hosts map[string]*Host
}

// New returns a laboratory without hosts. [Init] must have been called.
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

// Close ends all hosts and everything that runs on them. When it returns no
// process of theirs is left.
func (l *Lab) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.hosts {
		h.close()
	}
	clear(l.hosts)
}

// Link joins a and b with a cable: a pair of veth interfaces named aIf and
// bIf, both up. Duplicate address detection, which would keep each new address
// waiting for a second, is off on both.
func (l *Lab) Link(a *Host, aIf string, b *Host, bIf string) error {
	// Both ends are born where they belong, so that a crash leaves none behind.
	cmd := exec.Command("ip", "link", "add", "name", aIf, "netns", a.pidString(),
		"type", "veth", "peer", "name", bIf, "netns", b.pidString())
	if _, err := output(cmd, cmd.Run); err != nil {
		return fault.Wrap(err, "cannot link the hosts", a.name+" and "+b.name, "")
	}
	return errors.Join(a.linkUp(aIf), b.linkUp(bIf))
}

// Kernel tells which laboratory this is: "vm" on the kernel that testdata/vm
// boots, which has WireGuard, and "netns" on the machine's own.
func Kernel() string {
	line, err := os.ReadFile("/proc/cmdline")
	if err == nil && bytes.Contains(line, []byte("wgkeys.lab=vm")) {
		return "vm"
	}
	return "netns"
}

// HasWireGuard reports whether the kernel has a WireGuard of its own, loaded
// or not. Hosts without it use the device inside the binary.
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

// Package port finds out who has a UDP port of this host.
package port

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/tunnel"
)

// Owner returns who has the port, or "" if that is unknown, and whether it is taken. If no
// process has the socket open, Owner asks again for up to 200 ms: a process that closes a
// socket loses it before the kernel frees the port (fput, udp_lib_unhash).
func Owner(nl *netlink.Handle, wg *wg.Client, port int) (owner string, taken bool) {
	for range 10 {
		sockets := socketsOf(port)
		if len(sockets) == 0 {
			return "", false
		}
		if owner = ownerOf(nl, wg, sockets, port); owner != "" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return owner, true
}

// socketsOf returns the inodes of the UDP sockets with that port, on any address, because
// the device binds all addresses.
func socketsOf(port int) []string {
	var inodes []string
	for _, file := range []string{"udp", "udp6"} {
		text, _ := os.ReadFile("/proc/thread-self/net/" + file) // without the family there are no sockets
		for line := range strings.Lines(string(text)) {
			// "  sl  local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid
			// timeout inode ...", "12: 00000000:7767 ..." (proc_pid_net(5))
			if f := strings.Fields(line); len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				inodes = append(inodes, f[9])
			}
		}
	}
	return inodes
}

// ownerOf names who has the port: a process, or a tunnel, whose socket belongs to the
// kernel and to no process. Processes in another container cannot be seen.
func ownerOf(nl *netlink.Handle, wg *wg.Client, inodes []string, port int) string {
	if pid := holderOf(inodes); pid != "" {
		return processName(pid)
	}
	links, err := nlmsg.Retry(nl.LinkList)
	if err != nil {
		return ""
	}
	for _, l := range links {
		if nlmsg.KindOf(l) != "wireguard" {
			continue
		}
		if name := l.Attrs().Name; wg.ListenPort(name) == port {
			return "tunnel " + name
		}
	}
	return ""
}

// holderOf returns the process that has one of the sockets open.
func holderOf(inodes []string) (pid string) {
	wanted := map[string]bool{}
	for _, i := range inodes {
		wanted["socket:["+i+"]"] = true
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is valid
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && wanted[target] {
			return strings.Split(file, "/")[2]
		}
	}
	return ""
}

// processName returns the name of a process. A tunnel's device in user space goes by the
// name of the tunnel.
func processName(pid string) string {
	text, _ := os.ReadFile("/proc/" + pid + "/cmdline")
	args := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	last := args[len(args)-1]
	for _, name := range []string{last, args[min(1, len(args)-1)]} {
		if _, err := os.Stat(device.Socket(name)); err == nil && tunnel.CheckName(name) == nil {
			return "tunnel " + name
		}
	}
	name, _ := os.ReadFile("/proc/" + pid + "/comm")
	return strings.TrimSpace(string(name)) + " (process " + pid + ")"
}

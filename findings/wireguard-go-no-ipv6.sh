#!/bin/sh
# wireguard-go (golang.zx2c4.com/wireguard) forgets its port on a host without IPv6, as with
# ipv6.disable=1. It listens on the one that it was given, for IPv4, and takes for its port
# what the attempt for IPv6 returned, which is 0 there (Open in conn/bind_std.go). `wg show`
# has no port then, `wg showconf` neither, and when the interface was down and is up again it
# listens on a port that nobody knows.
#
# Guess before it was run: the port is kept until it is set again.
# Seen with wireguard v0.0.0-20260522210424-ecfc5a8d5446:
#
#	with IPv6, up: listens on the port, and says so
#	with IPv6, down and up: listens on the port, and says so
#	without IPv6, up: listens on the port, and says that it is 0
#	without IPv6, down and up: does not listen on the port, and says that it is 0
#
# Needs go, and no root: IPv6 is refused by a filter of the program for itself (seccomp), with
# the error of such a host. It fails where one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOFLAGS="-mod=mod -modcacherw" HOME="${HOME:-$dir}"
cat >main.go <<'END'
package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// refuseIPv6 lets no thread of this program have an IPv6 socket.
func refuseIPv6() {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // first argument
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.AF_INET6, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	must(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		panic(errno)
	}
}

// port is the port that the device says it has, 0 if it says none.
func port(d *device.Device) int {
	all, err := d.IpcGet()
	must(err)
	_, number, _ := strings.Cut(all, "listen_port=")
	number, _, _ = strings.Cut(number, "\n")
	n, _ := strconv.Atoi(number)
	return n
}

func take(port int) (*net.UDPConn, error) { return net.ListenUDP("udp4", &net.UDPAddr{Port: port}) }

func say(what string, d *device.Device, given int) {
	listens, says := "listens on the port", "says so"
	if c, err := take(given); err == nil {
		c.Close()
		listens = "does not listen on the port"
	}
	if p := port(d); p != given {
		says = fmt.Sprintf("says that it is %d", p)
	}
	fmt.Printf("%s: %s, and %s\n", what, listens, says)
}

func try(what string) {
	c, err := take(0)
	must(err)
	given := c.LocalAddr().(*net.UDPAddr).Port
	c.Close()
	d := device.NewDevice(tuntest.NewChannelTUN().TUN(), conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	defer d.Close()
	must(d.IpcSet(fmt.Sprintf("listen_port=%d\n", given)))
	must(d.Up())
	say(what+", up", d, given)
	must(d.Down())
	must(d.Up())
	say(what+", down and up", d, given)
}

func main() {
	try("with IPv6")
	refuseIPv6()
	try("without IPv6")
}
END
go mod init example >/dev/null 2>&1
go get golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446 >/dev/null 2>&1
go build -o try . 2>/dev/null || { go mod tidy >/dev/null 2>&1 && go build -o try .; }
./try | tee seen
cat >expected <<'END'
with IPv6, up: listens on the port, and says so
with IPv6, down and up: listens on the port, and says so
without IPv6, up: listens on the port, and says that it is 0
without IPv6, down and up: does not listen on the port, and says that it is 0
END
cmp seen expected

#!/bin/sh
# wireguard-go (golang.zx2c4.com/wireguard) that is given a listen_port which another program
# has refuses it with an error, as the kernel's WireGuard does, and has no port any more: the
# sockets of the old one were closed before (BindUpdate in device/device.go), and the number is
# set to 0. Nothing is sent or received until a port is set again. A device that could not be
# brought up because its port was in use has forgotten it as well: the next try succeeds, on a
# port that nobody knows.
#
# Guess before it was run: a request that is refused leaves the port as it is.
# Seen with wireguard v0.0.0-20260522210424-ecfc5a8d5446:
#
#	up: the port is the first
#	port in use: refused, the port is 0, the first is free
#	up with a port in use: refused
#	up when it is free: done, the port is another
#
# Needs go, and no root. It fails where one of them is otherwise.
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

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// take takes a port, any if it is 0.
func take(port int) (*net.UDPConn, error) { return net.ListenUDP("udp", &net.UDPAddr{Port: port}) }

func portOf(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }

func newDevice(port int) *device.Device {
	d := device.NewDevice(tuntest.NewChannelTUN().TUN(), conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	must(d.IpcSet(fmt.Sprintf("listen_port=%d\n", port)))
	return d
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

func done(err error) string {
	if err != nil {
		return "refused"
	}
	return "done"
}

func main() {
	c, err := take(0)
	must(err)
	first := portOf(c)
	c.Close()
	other, err := take(0)
	must(err)
	used := portOf(other)
	name := func(port int) string {
		switch port {
		case 0:
			return "0"
		case first:
			return "the first"
		case used:
			return "the one that was in use"
		}
		return "another"
	}

	d := newDevice(first)
	must(d.Up())
	fmt.Println("up: the port is", name(port(d)))
	err = d.IpcSet(fmt.Sprintf("listen_port=%d\n", used))
	free := "free"
	if c, err := take(first); err != nil {
		free = "in use"
	} else {
		c.Close()
	}
	fmt.Printf("port in use: %s, the port is %s, the first is %s\n", done(err), name(port(d)), free)

	d = newDevice(used)
	fmt.Println("up with a port in use:", done(d.Up()))
	other.Close()
	err = d.Up()
	fmt.Printf("up when it is free: %s, the port is %s\n", done(err), name(port(d)))
}
END
go mod init example >/dev/null 2>&1
go get golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446 >/dev/null 2>&1
go build -o try . 2>/dev/null || { go mod tidy >/dev/null 2>&1 && go build -o try .; }
./try | tee seen
cat >expected <<'END'
up: the port is the first
port in use: refused, the port is 0, the first is free
up with a port in use: refused
up when it is free: done, the port is another
END
cmp seen expected

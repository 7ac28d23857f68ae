#!/bin/sh
# wireguard-go (golang.zx2c4.com/wireguard) sends packets for an IPv6 endpoint to another
# endpoint's address after a packet went to an IPv4 one. StdNetBind takes the destination
# from a pool, cuts it to 4 bytes for IPv4, and copies no more than those 4 of the next IPv6
# address: the other 12 are what was there before. A device with peers of both families so
# sends to the beginning of one peer's address with the rest of another's, without an error.
#
# Guess before it was run: a packet goes to the endpoint that it is given with.
# Seen on Linux 6.18, wireguard v0.0.0-20260522210424-ecfc5a8d5446:
#
#	for 2001:db8:a::1: went to 2001:db8:a::1
#	for 127.0.0.1: went to 127.0.0.1
#	for 2001:db8:c::1: went to 2001:db8:a::1
#
# Needs go, and unshare and ip for a network of its own, in which all of 2001:db8::/32 is
# local. It fails where the last one arrives as well.
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
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// listen returns a socket that hears what goes to any address of this network.
func listen() *net.UDPConn {
	c, err := net.ListenUDP("udp6", &net.UDPAddr{Port: 7767})
	if err != nil {
		panic(err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		panic(err)
	}
	err = raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1); err != nil {
			panic(err)
		}
	})
	if err != nil {
		panic(err)
	}
	return c
}

// heard is the address that the next packet went to.
func heard(c *net.UDPConn) string {
	text, control := make([]byte, 64), make([]byte, 256)
	c.SetReadDeadline(time.Now().Add(time.Second))
	_, n, _, _, err := c.ReadMsgUDP(text, control)
	if err != nil {
		return "nowhere: " + err.Error()
	}
	all, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(all) == 0 {
		panic("no address")
	}
	address, _ := netip.AddrFromSlice(all[0].Data[:16]) // struct in6_pktinfo
	return address.Unmap().String()
}

func main() {
	runtime.GOMAXPROCS(1) // so that one pool serves all
	four, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7768})
	if err != nil {
		panic(err)
	}
	four.SetReadDeadline(time.Now().Add(10 * time.Second))
	six := listen()
	b := conn.NewStdNetBind()
	if _, _, err := b.Open(0); err != nil {
		panic(err)
	}
	var went string
	for _, to := range []string{"[2001:db8:a::1]:7767", "127.0.0.1:7768", "[2001:db8:c::1]:7767"} {
		endpoint, err := b.ParseEndpoint(to)
		if err != nil {
			panic(err)
		}
		if err := b.Send([][]byte{make([]byte, 32)}, endpoint); err != nil {
			panic(err)
		}
		address := netip.MustParseAddrPort(to).Addr()
		if !address.Is4() {
			went = heard(six)
		} else if _, _, err := four.ReadFrom(make([]byte, 64)); err == nil {
			went = address.String()
		}
		fmt.Printf("for %v: went to %s\n", address, went)
	}
	if went == "2001:db8:c::1" {
		os.Exit(1)
	}
}
END
go mod init example >/dev/null 2>&1
go get golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446 >/dev/null 2>&1
go build -o try . 2>/dev/null || { go mod tidy >/dev/null 2>&1 && go build -o try .; }
unshare --map-root-user --net sh -c 'ip link set lo up && ip -6 route add local 2001:db8::/32 dev lo && GOGC=off exec ./try'

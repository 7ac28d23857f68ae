#!/bin/sh
# wireguard-go (golang.zx2c4.com/wireguard) answers a peer from the host's first address,
# not from the one that the peer sent to, on every kernel that joins UDP packets (UDP_GRO,
# Linux 5.12 and later). StdNetBind reads at the end of its messages and moves what it read
# to the front (splitCoalescedMessages in conn/bind_std.go): data and sender are moved, the
# control message with the destination (IP_PKTINFO) stays behind. So the "sticky socket", for
# which the destination is asked for, has none to stick to. Behind a NAT or a firewall with
# a memory the answer belongs to no connection, and no handshake with such an address is ever
# done.
#
# Guess before it was run: the answer comes from 127.0.0.2, as the kernel's WireGuard does it
# and as the sources say (sticky_linux.go).
# Seen on Linux 6.18, wireguard v0.0.0-20260522210424-ecfc5a8d5446:
#
#	sent to 127.0.0.2, which the endpoint has as: invalid IP
#	answered from 127.0.0.1
#
# Needs go, and no root. It fails where the answer comes from 127.0.0.2.
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
	"os"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

func main() {
	b := conn.NewStdNetBind()
	receive, port, err := b.Open(0)
	if err != nil {
		panic(err)
	}
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		panic(err)
	}
	peer.SetReadDeadline(time.Now().Add(10 * time.Second))
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: int(port)}
	if _, err := peer.WriteTo(make([]byte, 148), to); err != nil {
		panic(err)
	}
	packets, sizes, endpoints := make([][]byte, b.BatchSize()), make([]int, b.BatchSize()), make([]conn.Endpoint, b.BatchSize())
	for i := range packets {
		packets[i] = make([]byte, 1<<16)
	}
	if _, err := receive[0](packets, sizes, endpoints); err != nil {
		panic(err)
	}
	fmt.Printf("sent to %v, which the endpoint has as: %v\n", to.IP, endpoints[0].SrcIP())
	if err := b.Send([][]byte{make([]byte, 92)}, endpoints[0]); err != nil {
		panic(err)
	}
	_, from, err := peer.ReadFromUDP(make([]byte, 148))
	if err != nil {
		panic(err)
	}
	fmt.Printf("answered from %v\n", from.IP)
	if from.IP.Equal(to.IP) {
		os.Exit(1)
	}
}
END
go mod init example >/dev/null 2>&1
go get golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446 >/dev/null 2>&1
go build -o try . 2>/dev/null || { go mod tidy >/dev/null 2>&1 && go build -o try .; }
exec ./try

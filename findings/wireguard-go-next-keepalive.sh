#!/bin/sh
# wireguard-go (golang.zx2c4.com/wireguard) sends a handshake to a peer that was only set, where
# the peer before it in the same request is given a persistent keepalive. That one is to be
# sent at once, which is noted (pkaOn of ipcSetPeer in device/uapi.go), and the note is not
# taken back at the next "public_key": it is sent for each peer that follows, until one has a
# line "persistent_keepalive_interval" of its own. `wg set wg0 peer A … persistent-keepalive 25
# peer B …` makes such a request. So a hub contacts peers that are to come to it, in an order
# that depends on who stands before whom.
#
# Guess before it was run: a peer without persistent keepalive sends nothing by itself.
# Seen with wireguard v0.0.0-20260522210424-ecfc5a8d5446:
#
#	peer b alone: nothing came to b
#	peer b, then peer a with a keepalive: nothing came to b
#	peer a with a keepalive, then peer b: 148 bytes came to b
#	peer a with a keepalive, then peer b without (0): nothing came to b
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
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"net"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func newKey() *ecdh.PrivateKey {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(err)
	return key
}

// peer is the lines of a new peer, and the socket of its endpoint.
func peer() (string, *net.UDPConn) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(err)
	return fmt.Sprintf("public_key=%x\nendpoint=%v\n", newKey().PublicKey().Bytes(), c.LocalAddr()), c
}

// came is what comes to b after one request for a device that is up.
func came(request func(a, b string) string) string {
	d := device.NewDevice(tuntest.NewChannelTUN().TUN(), conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	defer d.Close()
	must(d.IpcSet(fmt.Sprintf("private_key=%x\n", newKey().Bytes())))
	must(d.Up())
	a, _ := peer()
	b, c := peer()
	must(d.IpcSet(request(a, b)))
	c.SetReadDeadline(time.Now().Add(2 * time.Second))
	n, _, err := c.ReadFrom(make([]byte, 1500))
	if err != nil {
		return "nothing came to b"
	}
	return fmt.Sprintf("%d bytes came to b", n)
}

func main() {
	const keepalive, none = "persistent_keepalive_interval=25\n", "persistent_keepalive_interval=0\n"
	fmt.Println("peer b alone:", came(func(_, b string) string { return b }))
	fmt.Println("peer b, then peer a with a keepalive:", came(func(a, b string) string { return b + a + keepalive }))
	fmt.Println("peer a with a keepalive, then peer b:", came(func(a, b string) string { return a + keepalive + b }))
	fmt.Println("peer a with a keepalive, then peer b without (0):",
		came(func(a, b string) string { return a + keepalive + b + none }))
}
END
go mod init example >/dev/null 2>&1
go get golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446 >/dev/null 2>&1
go build -o try . 2>/dev/null || { go mod tidy >/dev/null 2>&1 && go build -o try .; }
./try | tee seen
cat >expected <<'END'
peer b alone: nothing came to b
peer b, then peer a with a keepalive: nothing came to b
peer a with a keepalive, then peer b: 148 bytes came to b
peer a with a keepalive, then peer b without (0): nothing came to b
END
cmp seen expected

#!/bin/sh
# wireguard-go (golang.zx2c4.com/wireguard) counts a handshake that it could not send. A
# packet for a peer whose endpoint is not known begins one, which ends with "no known
# endpoint for peer", after the time of the last handshake was noted. Whoever gives the
# peer its endpoint then waits: packets and keepalives begin no other handshake until 5 s
# (REKEY_TIMEOUT) after the one that was never sent.
#
# Guess before it was run: what was not sent is not counted, and the first packet after the
# endpoint is known begins a handshake at once.
# Seen on Linux 6.18, wireguard v0.0.0-20260522210424-ecfc5a8d5446:
#
#	no packet before the endpoint: the handshake comes at once
#	a packet before the endpoint: the handshake comes 5 s after it
#
# Needs go. It fails where both come at once.
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
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
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

// wait is how long the first handshake takes to come, from a packet of before the endpoint
// was known, or else from when it is.
func wait(before bool) time.Duration {
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(err)
	defer peer.Close()
	tun := tuntest.NewChannelTUN()
	d := device.NewDevice(tun.TUN(), conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	defer d.Close()
	public := hex.EncodeToString(newKey().PublicKey().Bytes())
	must(d.IpcSet(fmt.Sprintf("private_key=%x\npublic_key=%s\nallowed_ip=192.0.2.2/32\n", newKey().Bytes(), public)))
	must(d.Up())
	ping := tuntest.Ping(netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.1"))

	begin := time.Now()
	if before {
		tun.Outbound <- ping
		time.Sleep(200 * time.Millisecond)
	}
	must(d.IpcSet(fmt.Sprintf("public_key=%s\nupdate_only=true\nendpoint=%v\n", public, peer.LocalAddr())))
	stop := time.After(10 * time.Second)
	came := make(chan time.Duration, 1)
	go func() {
		if _, _, err := peer.ReadFrom(make([]byte, 256)); err == nil {
			came <- time.Since(begin)
		}
	}()
	for {
		select {
		case tun.Outbound <- ping:
		case <-stop:
			return 10 * time.Second
		}
		select {
		case took := <-came:
			return took
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func say(took time.Duration) string {
	if took < time.Second {
		return "at once"
	}
	return fmt.Sprintf("%.0f s after it", took.Seconds())
}

func main() {
	fmt.Println("no packet before the endpoint: the handshake comes", say(wait(false)))
	late := wait(true)
	fmt.Println("a packet before the endpoint: the handshake comes", say(late))
	if late < time.Second {
		os.Exit(1)
	}
}
END
go mod init example >/dev/null 2>&1
go get golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446 >/dev/null 2>&1
go build -o try . 2>/dev/null || { go mod tidy >/dev/null 2>&1 && go build -o try .; }
./try

#!/bin/sh
# github.com/vishvananda/netlink: an Addr that was given to AddrAdd with Broadcast 0.0.0.0,
# which asks for no broadcast address, asks for one the next time. AddrAdd makes nil of the
# zero address in the caller's own struct, and of nil the broadcast address of the prefix.
# Whoever tries again after an error, or keeps the struct, gets another address than before.
#
# Guess before it was run: AddrAdd leaves what it is given as it is, and the second address
# is like the first.
# Seen on Linux 6.18, netlink v1.3.1:
#
#	first: inet 192.0.2.1/24 scope global lo
#	second: inet 192.0.2.1/24 brd 192.0.2.255 scope global lo
#
# Needs go, and unshare and ip for a network of its own. It fails where both are alike.
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
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// shown is how ip(8) shows the only IPv4 address of a link.
func shown(name string) string {
	out, err := exec.Command("ip", "-4", "-o", "address", "show", "dev", name).Output()
	must(err)
	_, address, _ := strings.Cut(string(out), name)
	address, _, _ = strings.Cut(address, "\\")
	return strings.TrimSpace(address)
}

func main() {
	link, err := netlink.LinkByName("lo") // which is down, and has no address
	must(err)
	addr, err := netlink.ParseAddr("192.0.2.1/24")
	must(err)
	addr.Broadcast = net.IPv4zero // none
	must(netlink.AddrAdd(link, addr))
	fmt.Println("first:", shown("lo"))
	must(netlink.AddrDel(link, addr))
	must(netlink.AddrAdd(link, addr))
	fmt.Println("second:", shown("lo"))
}
END
go mod init finding >log 2>&1 && go get github.com/vishvananda/netlink@v1.3.1 >>log 2>&1 && go build -o finding . >>log 2>&1 || {
	cat log
	exit 9
}
unshare -n ./finding | tee seen
grep -q '^first: inet 192.0.2.1/24 scope global lo$' seen &&
	grep -q '^second: inet 192.0.2.1/24 brd 192.0.2.255 scope global lo$' seen

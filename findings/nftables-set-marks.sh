#!/bin/bash
# github.com/google/nftables v0.3.0 does not read in which order of bytes a set has its keys,
# which nft(8) notes beside it (NFTNL_UDATA_SET_KEYBYTEORDER): KeyByteOrder of what GetSets
# returns is nil. A set of marks that is read and added again, as to fill it anew or to copy it,
# goes without the note. It matches as before, and nft shows every mark in it with its bytes
# reversed. So `nft list ruleset`, written to a file as nftables.service loads it at boot, is
# another set from then on: after a restart it matches other packets. Names of interfaces are
# shown as "", which nft does not load at all.
#
# Guess before it was run: what GetSets and GetSetElements return and AddSet takes is the same.
# Seen with v0.3.0, Linux 6.18, little-endian, nftables 1.0.6 (Debian 12), and the same with
# 1.1.7 (Debian sid):
#
#	as nft made it: 0x00000005, matches mark 5
#	read and added again: 0x05000000, matches mark 5
#	saved and loaded by nft: 0x05000000, does not match mark 5
#
# Needs go, nft, bash and unshare; no root where user namespaces may be made. It fails where one
# of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOFLAGS="-mod=mod -modcacherw" HOME="${HOME:-$dir}"
cat >main.go <<'END'
package main

import "github.com/google/nftables"

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	conn, err := nftables.New()
	must(err)
	table := &nftables.Table{Name: "example", Family: nftables.TableFamilyINet}
	sets, err := conn.GetSets(table)
	must(err)
	for _, set := range sets {
		elements, err := conn.GetSetElements(set)
		must(err)
		again := *set
		again.Name = "again"
		must(conn.AddSet(&again, elements))
	}
	must(conn.Flush())
}
END
go mod init example >/dev/null 2>&1
go get github.com/google/nftables@v0.3.0 >/dev/null 2>&1
go build -o again .
go list -m github.com/google/nftables
nft --version
cat >inside <<'END'
set -eu
ip link set lo up
nft -f - <<'RULES'
table inet example {
	set made { type mark; elements = { 5 } }
}
RULES
try() { # WHAT SET: the marks in it, and whether it has that of a packet with 5
	nft -f - <<-RULES
		add chain inet example out { type filter hook output priority 0; }
		add rule inet example out udp dport 7767 meta mark set 5 meta mark @$2 counter
	RULES
	echo x >/dev/udp/127.0.0.1/7767
	matches='does not match'
	! nft list chain inet example out | grep -q 'packets 1 ' || matches=matches
	nft delete chain inet example out
	echo "$1: $(nft list set inet example $2 | sed -n 's/.*elements = { \(.*\) }.*/\1/p'), $matches mark 5"
}
try 'as nft made it' made
./again
try 'read and added again' again
nft list ruleset >saved
nft flush ruleset
nft -f saved
try 'saved and loaded by nft' again
END
unshare --user --map-root-user --net bash inside | tee seen
cat >expected <<'END'
as nft made it: 0x00000005, matches mark 5
read and added again: 0x05000000, matches mark 5
saved and loaded by nft: 0x05000000, does not match mark 5
END
cmp seen expected

#!/bin/sh
# github.com/vishvananda/netlink v1.3.1 sends RTM_NEWRULE with 3 in the reserved byte
# res1 of struct fib_rule_hdr: it fills in the header of a route (struct rtmsg), whose
# protocol lies there (RTPROT_BOOT). ip(8) sends 0. Kernels up to 7.3 do not look.
# Needs go, strace and unshare; no root where user namespaces may be made.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOFLAGS="-mod=mod -modcacherw" HOME="${HOME:-$dir}"
cat >main.go <<'END'
package main

import "github.com/vishvananda/netlink"

func main() {
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table = netlink.FAMILY_V4, 30000, 7
	if err := netlink.RuleAdd(r); err != nil {
		panic(err)
	}
}
END
go mod init example >/dev/null 2>&1
go get github.com/vishvananda/netlink@v1.3.1 >/dev/null 2>&1
go build -o rule .
go list -m github.com/vishvananda/netlink
uname -sr
unshare --user --map-root-user --net strace -f -qq -e trace=sendto -e raw=sendto -e write=all -e signal=none -o trace ./rule

# The header of the message is 16 bytes, that of the rule follows: res1 is its sixth.
bytes=$(sed -n 's/^ | 00010  \(.\{23\}\) .*/\1/p' trace | head -n 1)
echo "struct fib_rule_hdr begins with $bytes"
set -- $bytes
[ "$6" = 03 ] || {
	echo "res1 is $6, was 03" >&2
	exit 1
}

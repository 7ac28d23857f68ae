#!/bin/sh
# github.com/vishvananda/netlink v1.3.1: XfrmPolicyList takes an IPv6 prefix of at most 32
# bits for an IPv4 one, since the last 12 bytes of its address are zero: a policy for
# fd07::/32 is listed as one for 253.7.0.0/32. The message says the family, and it is not
# looked at. Listing one family alone (FAMILY_V6) changes nothing. ip(8) has it right.
# Needs go, ip and unshare; no root where user namespaces may be made.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOFLAGS="-mod=mod -modcacherw" HOME="${HOME:-$dir}"
cat >main.go <<'EOF'
package main

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

func main() {
	policies, err := netlink.XfrmPolicyList(netlink.FAMILY_V6)
	if err != nil {
		panic(err)
	}
	for _, p := range policies {
		fmt.Println("listed for", p.Dst)
	}
}
EOF
go mod init example >/dev/null 2>&1
go get github.com/vishvananda/netlink@v1.3.1 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go build -o policies .
go list -m github.com/vishvananda/netlink
uname -sr
said=$(unshare --user --map-root-user --net sh -c 'ip xfrm policy add dir out src ::/0 dst fd07::/32 action block
./policies; ip xfrm policy show | head -n 1')
echo "$said"
# Seen: listed for 253.7.0.0/32
#       src ::/0 dst fd07::/32
case $said in
"listed for 253.7.0.0/32"*"dst fd07::/32"*) ;;
*)
	echo "that was otherwise" >&2
	exit 1
	;;
esac

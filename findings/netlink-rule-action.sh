#!/bin/sh
# github.com/vishvananda/netlink v1.3.1 has a field for what a policy rule does
# (Rule.Type), and RuleAdd sends it; RuleList never fills it in. A rule that refuses
# packets (unreachable, prohibit, blackhole) is listed with Type 0, as one that looks into
# a table is: ip(8) tells them apart.
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
	"golang.org/x/sys/unix"
)

func main() {
	r := netlink.NewRule()
	r.Family, r.Priority, r.Type = netlink.FAMILY_V6, 30000, unix.RTN_UNREACHABLE
	if err := netlink.RuleAdd(r); err != nil {
		panic(err)
	}
	rules, err := netlink.RuleList(netlink.FAMILY_V6)
	if err != nil {
		panic(err)
	}
	for _, r := range rules {
		if r.Priority == 30000 {
			fmt.Printf("added with Type %d, listed with Type %d, table %d\n", unix.RTN_UNREACHABLE, r.Type, r.Table)
		}
	}
}
EOF
go mod init example >/dev/null 2>&1
go get github.com/vishvananda/netlink@v1.3.1 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go build -o rule .
go list -m github.com/vishvananda/netlink
uname -sr
said=$(unshare --user --map-root-user --net sh -c './rule; ip -6 rule show priority 30000')
echo "$said"
# Seen: added with Type 7, listed with Type 0, table 0
#       30000:	from all unreachable
case $said in
"added with Type 7, listed with Type 0, table 0"*unreachable*) ;;
*)
	echo "that was otherwise" >&2
	exit 1
	;;
esac

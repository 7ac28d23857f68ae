#!/bin/sh
# github.com/vishvananda/netlink: RouteListFiltered takes RT_FILTER_PRIORITY and pays no heed to
# it. The constant is listed beside RT_FILTER_TABLE and RT_FILTER_DST, and RuleListFiltered does
# filter by it; for routes there is no such case (RouteListFilteredIter in route_linux.go), nor
# one for RT_FILTER_MARK and RT_FILTER_MASK. A program that deletes what it gets for the metric
# of its own routes deletes those of others too, of every metric.
#
# Guess before it was run: routes of that metric, or an error.
# Seen with v1.3.1:
#
#	to 198.51.100.0/24: metrics 10 20 30
#	to 198.51.100.0/24 with metric 20: metrics 10 20 30
#	rules with priority 20: priorities 20
#
# Needs go, ip and unshare; no root where user namespaces may be made. It fails where one of
# them is otherwise.
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

	"github.com/vishvananda/netlink"
)

func main() {
	_, dst, err := net.ParseCIDR("198.51.100.0/24")
	if err != nil {
		panic(err)
	}
	list := func(what string, mask uint64) {
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: dst, Priority: 20}, mask)
		if err != nil {
			panic(err)
		}
		fmt.Printf("to %v%s: metrics", dst, what)
		for _, r := range routes {
			fmt.Print(" ", r.Priority)
		}
		fmt.Println()
	}
	list("", netlink.RT_FILTER_DST)
	list(" with metric 20", netlink.RT_FILTER_DST|netlink.RT_FILTER_PRIORITY)
	filter := netlink.NewRule()
	filter.Priority = 20
	rules, err := netlink.RuleListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_PRIORITY)
	if err != nil {
		panic(err)
	}
	fmt.Print("rules with priority 20: priorities")
	for _, r := range rules {
		fmt.Print(" ", r.Priority)
	}
	fmt.Println()
}
END
cat >inside <<'END'
ip link set lo up
for metric in 10 20 30; do
	ip route add 198.51.100.0/24 dev lo metric $metric
	ip rule add priority $metric table 7
done
./list
END
go mod init example >/dev/null 2>&1
go get github.com/vishvananda/netlink@v1.3.1 >/dev/null 2>&1
go build -o list .
unshare --user --map-root-user --net sh -eu inside | tee seen
cat >expected <<'END'
to 198.51.100.0/24: metrics 10 20 30
to 198.51.100.0/24 with metric 20: metrics 10 20 30
rules with priority 20: priorities 20
END
cmp seen expected

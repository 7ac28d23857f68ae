#!/bin/sh
# A permanent neighbour (ip neighbour ... nud permanent) is gone when the address of its own
# interface changes (neigh_changeaddr in net/core/neighbour.c), and a proxy neighbour stays. A
# bridge without an address of its own changes it with its ports, so each interface that joins
# may take all permanent neighbours of the bridge with it. When the link is lost both stay; when
# the interface is set down both are gone, and setting it up brings neither back.
#
# Guess before it was run: what is permanent stays until somebody deletes it or the interface,
# whatever its own address; and proxy neighbours go with the link.
# Seen with Linux 6.18 and iproute2 6.1.0 (Debian 12); Linux 6.1, 6.12 and 7.3 did the same:
#
#	at first: 2 permanent, 1 proxy
#	the link lost: 2 permanent, 1 proxy
#	its address changed: 0 permanent, 1 proxy
#	set down: 0 permanent, 0 proxy
#	up again: 0 permanent, 0 proxy
#
# Needs ip and unshare; no root where user namespaces may be made. It fails where one of them
# is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >inside <<'END'
ip link add e0 type veth peer name e1
ip link set e0 up
ip link set e1 up
neighbours() {
	ip neighbour replace 192.0.2.9 lladdr 02:00:00:00:00:09 nud permanent dev e0
	ip -6 neighbour replace 2001:db8::9 lladdr 02:00:00:00:00:09 nud permanent dev e0
	ip -6 neighbour replace proxy 2001:db8::7 dev e0
}
count() { # WHEN
	permanent=$(ip neighbour show nud permanent dev e0 | grep -c PERMANENT || true)
	echo "$1: $permanent permanent, $(ip -6 neighbour show proxy dev e0 | wc -l) proxy"
}
neighbours
count 'at first'
ip link set e1 down
sleep 1
count 'the link lost'
ip link set e1 up
ip link set e0 address 02:00:00:00:00:77
count 'its address changed'
neighbours
ip link set e0 down
count 'set down'
ip link set e0 up
count 'up again'
END
ip -V
uname -r
unshare --user --map-root-user --net sh -eu inside | tee seen
cat >expected <<'END'
at first: 2 permanent, 1 proxy
the link lost: 2 permanent, 1 proxy
its address changed: 0 permanent, 1 proxy
set down: 0 permanent, 0 proxy
up again: 0 permanent, 0 proxy
END
cmp seen expected

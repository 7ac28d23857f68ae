#!/bin/sh
# ip(8) leaves out of its JSON that a metric of a route is locked. "mtu lock 1300" keeps path
# MTU discovery from lowering the MTU of a route, as on the way to a tunnel's endpoint; in the
# text, and in what `ip route save` writes, "lock" is there. With -json, also with -details, it
# is {"mtu":1300} either way (print_rta_metrics in ip/iproute.c). A program that reads the JSON
# takes two routes for the same that are not, and what it puts back afterwards has no lock.
#
# Guess before it was run: all that the text says of a route is in the JSON.
# Seen with iproute2 6.1.0 (Debian 12), and the same with 7.3.0 (Debian sid):
#
#	text: 198.51.100.0/24 dev lo scope link mtu lock 1300 hoplimit lock 9
#	JSON: [{"mtu":1300,"hoplimit":9}]
#	text: 198.51.101.0/24 dev lo scope link mtu 1300 hoplimit 9
#	JSON: [{"mtu":1300,"hoplimit":9}]
#
# Needs ip and unshare; no root where user namespaces may be made. It fails where one of them
# is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >inside <<'END'
ip link set lo up
ip route add 198.51.100.0/24 dev lo mtu lock 1300 hoplimit lock 9
ip route add 198.51.101.0/24 dev lo mtu 1300 hoplimit 9
for prefix in 198.51.100.0/24 198.51.101.0/24; do
	echo "text: $(ip route show $prefix | sed 's/ *$//')"
	echo "JSON: $(ip -json -details route show $prefix | sed 's/.*"metrics":\(\[[^]]*\]\).*/\1/')"
done
END
ip -V
unshare --user --map-root-user --net sh -eu inside | tee seen
cat >expected <<'END'
text: 198.51.100.0/24 dev lo scope link mtu lock 1300 hoplimit lock 9
JSON: [{"mtu":1300,"hoplimit":9}]
text: 198.51.101.0/24 dev lo scope link mtu 1300 hoplimit 9
JSON: [{"mtu":1300,"hoplimit":9}]
END
cmp seen expected

#!/bin/sh
# "ip route add default via inet6 ADDRESS", as for a host whose IPv4 goes by an IPv6 gateway
# (RFC 5549), makes an IPv6 default route and exits 0: the host gets no IPv4 route, and if it
# had no IPv6 default before, it has another one now. The family of the gateway becomes that of
# the route where nothing else has said it, and the word "default" does not say it
# (iproute_modify in ip/iproute.c). "ip -4", or 0.0.0.0/0 for default, makes the IPv4 route.
#
# Guess before it was run: ip route is about IPv4 unless -6 says otherwise, so the route is one
# of IPv4, by the gateway of the other family that "inet6" names.
# Seen with iproute2 6.1.0 (Debian 12):
#
#	default via inet6: IPv4 none, IPv6 2001:db8::1
#	0.0.0.0/0 via inet6: IPv4 inet6 2001:db8::1, IPv6 none
#	-4, default via inet6: IPv4 inet6 2001:db8::1, IPv6 none
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
ip address add 192.0.2.2/24 dev e0
ip -6 address add 2001:db8::2/64 dev e0 nodad

by() { # FAMILY: the gateway of its default route
	route=$(ip "$1" route show default | sed -n 's/^default via \(.*\) dev e0.*/\1/p')
	echo "${route:-none}"
}
try() { # WHAT COMMAND...
	what=$1
	shift
	"$@" via inet6 2001:db8::1 dev e0
	echo "$what: IPv4 $(by -4), IPv6 $(by -6)"
	ip -4 route flush default
	ip -6 route flush default
}
try 'default via inet6' ip route add default
try '0.0.0.0/0 via inet6' ip route add 0.0.0.0/0
try '-4, default via inet6' ip -4 route add default
END
ip -V
unshare --user --map-root-user --net sh -eu inside | tee seen
cat >expected <<'END'
default via inet6: IPv4 none, IPv6 2001:db8::1
0.0.0.0/0 via inet6: IPv4 inet6 2001:db8::1, IPv6 none
-4, default via inet6: IPv4 inet6 2001:db8::1, IPv6 none
END
cmp seen expected

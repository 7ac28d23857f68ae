#!/bin/sh
# Linux takes the alternative name of an interface (`ip link property add altname`) in a
# policy rule, "iif" or "oif", and the rule does what it says, until the interface is removed
# and made again, as when wg-quick takes a tunnel down and up. From then on it matches nothing,
# though an interface has that name again: the kernel keeps the text of the rule, and compares
# it at first with all names of an interface (__dev_get_by_name), later with the main one alone
# (attach_rules in net/core/fib_rules.c). A rule with the main name matches again.
#
# Guess before it was run: the rule matches again as soon as the name is there again.
# Seen with iproute2 6.1.0 (Debian 12) and 7.3.0 (Debian sid), Linux 6.18:
#
#	oif d0: matches
#	oif d0, made again: matches
#	oif way-home: matches
#	oif way-home, made again: matches not, from all oif way-home [detached] lookup 7
#
# Needs ip and unshare; no root where user namespaces may be made. It fails where one of them
# is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >inside <<'END'
interface() {
	ip link add d0 type veth peer name d1
	ip link property add dev d0 altname way-home
	ip link set d0 up
	ip link set d1 up
	ip route add 198.51.100.0/24 dev d0
	ip route add 198.51.100.0/24 dev d0 table 7
}
say() { # WHAT
	if ip route get 198.51.100.1 oif d0 | grep -q 'table 7'; then
		echo "$1: matches"
	else
		echo "$1: matches not, $(ip rule show priority 100 | cut -f 2)"
	fi
}
for name in d0 way-home; do
	interface
	ip rule add priority 100 oif $name table 7
	say "oif $name"
	ip link del d0
	interface
	say "oif $name, made again"
	ip rule del priority 100
	ip link del d0
done
END
ip -V
uname -sr
unshare --user --map-root-user --net sh -eu inside | tee seen
cat >expected <<'END'
oif d0: matches
oif d0, made again: matches
oif way-home: matches
oif way-home, made again: matches not, from all oif way-home [detached] lookup 7
END
cmp seen expected

#!/bin/sh
# "suppress_prefixlength 0" in a policy rule makes the kernel pass over the default route of a
# table and ask the next rule. wg-quick(8) has it for the main table, and its own default route in
# a table after that. A default route of the main table that leads nowhere (unreachable, blackhole,
# prohibit) is not passed over: its answer is an error, and only answers that are routes are
# suppressed (fib_rules_lookup in net/core/fib_rules.c). So a host on which such a route guards
# against packets in the clear, with a route of its own to the VPN's server, sends nothing at all
# when the tunnel is up. A throw route is passed over.
#
# Guess before it was run: all of them have the length 0 and are suppressed.
# Seen with iproute2 6.1.0 (Debian 12), Linux 6.18, IPv4 and IPv6 alike:
#
#	default via: the next rule's
#	throw default: the next rule's
#	unreachable default: RTNETLINK answers: No route to host
#	prohibit default: RTNETLINK answers: Permission denied
#	blackhole default: RTNETLINK answers: Invalid argument
#
# Needs ip and unshare; no root where user namespaces may be made. It fails where one of them
# is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >inside <<'END'
ip link set lo up
ip link add d0 type veth peer name d1
ip link set d0 up
ip link set d1 up
ip address add 192.0.2.1/24 dev d0
ip address add 2001:db8::1/64 dev d0 nodad
for family in -4 -6; do
	ip $family rule add priority 100 table main suppress_prefixlength 0
	ip $family rule add priority 101 table 7
	case $family in
	-4) near=192.0.2 far=198.51.100.1 ;;
	-6) near=2001:db8: far=2001:db8:99::1 ;;
	esac
	at() { case $family in -4) echo $near.$1 ;; -6) echo $near:$1 ;; esac; }
	ip $family route add default via "$(at 7)" table 7
	for kind in via throw unreachable prohibit blackhole; do
		case $kind in
		via) said="default via" && ip $family route add default via "$(at 8)" ;;
		*) said="$kind default" && ip $family route add $kind default ;;
		esac
		way=$(ip $family route get $far 2>&1 | head -n 1) || :
		case $way in *"table 7"*) way="the next rule's" ;; esac
		echo "$said: $way"
		ip $family route del default
	done
done
END
ip -V
uname -sr
unshare --user --map-root-user --net sh -eu inside | tee seen
for family in 4 6; do
	cat <<'END'
default via: the next rule's
throw default: the next rule's
unreachable default: RTNETLINK answers: No route to host
prohibit default: RTNETLINK answers: Permission denied
blackhole default: RTNETLINK answers: Invalid argument
END
done >expected
cmp seen expected

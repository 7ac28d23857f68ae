#!/bin/sh
# ip(8) shows no addresses of an interface behind a line "link show" of the same batch
# (ip -batch), in JSON neither, to the end of the batch and without an error: each later
# "address show dev NAME" is taken for another "link show dev NAME". That links alone are asked
# for is kept in a variable (do_link, set by ipaddr_list_link in ip/ipaddress.c) that nothing
# sets back; the family is, for each line. "address show" of all interfaces goes another way,
# and shows them. A program that saves itself a process a command so takes an interface for
# one without addresses.
#
# Guess before it was run: a line of a batch does what it does as a command of its own.
# Seen with iproute2 6.1.0 (Debian 12), and the same with 7.3.0 (Debian sid):
#
#	address show dev lo, link show: 192.0.2.1/24
#	link show, address show dev lo: none
#	link show, address show dev lo, in JSON: none
#	link show, address show: 192.0.2.1/24
#
# Needs ip and unshare; no root where user namespaces may be made. It fails where one of them
# is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >inside <<'END'
ip link set lo up
ip address add 192.0.2.1/24 dev lo

try() { # WHAT OPTION LINE...
	what=$1 option=$2
	shift 2
	printf '%s\n' "$@" >batch
	ip $option -batch batch >out
	echo "$what: $(grep -q '192\.0\.2\.1' out && echo 192.0.2.1/24 || echo none)"
}
try 'address show dev lo, link show' '' 'address show dev lo' 'link show'
try 'link show, address show dev lo' '' 'link show' 'address show dev lo'
try 'link show, address show dev lo, in JSON' -json 'link show' 'address show dev lo'
try 'link show, address show' '' 'link show' 'address show'
END
ip -V
unshare --user --map-root-user --net sh -eu inside | tee seen
cat >expected <<'END'
address show dev lo, link show: 192.0.2.1/24
link show, address show dev lo: none
link show, address show dev lo, in JSON: none
link show, address show: 192.0.2.1/24
END
cmp seen expected

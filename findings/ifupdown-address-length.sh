#!/bin/sh
# ifupdown reads the length of an IPv4 address in an "inet static" stanza up to the first
# letter that is no digit, and passes over the rest, whatever it is, without a word. A
# comment behind an address, which interfaces(5) does not have, so seems to be taken as one.
# Behind another option, or behind an IPv6 address, the very same comment goes into the
# command that is run, whose shell leaves out all that follows: for an IPv6 address the name
# of the interface. Who tries the first and writes the second gets an error of ip(8).
#
# Guess before it was run: a length that is no number is refused.
# Seen with ifupdown 0.8.41 (Debian 12), ifup -n -v:
#
#	192.0.2.1/24abc: ip addr add 192.0.2.1/255.255.255.0 broadcast 192.0.2.255 dev d0 label d0
#	192.0.2.1/24 # home: ip addr add 192.0.2.1/255.255.255.0 broadcast 192.0.2.255 dev d0 label d0
#	2001:db8::1/64 # home: ip -6 addr add 2001:db8::1/64 # home dev d0
#
# Needs root and the network: it downloads the package and installs nothing. It fails where
# one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download ifupdown
dpkg-deb -x ifupdown_*.deb .
ifup=$(ls sbin/ifup usr/sbin/ifup 2>/dev/null | head -n 1)

try() { # FAMILY ADDRESS
	printf 'iface d0 %s static\n\taddress %s\n' "$1" "$2" >interfaces
	echo "$2: $("$ifup" -n -v --no-scripts --force -i interfaces d0 2>&1 | grep 'addr add' | sed 's/\t/ /g; s/  */ /g; s/^ //')"
}

{
	try inet '192.0.2.1/24abc'
	try inet '192.0.2.1/24 # home'
	try inet6 '2001:db8::1/64 # home'
} | tee seen
grep -q '^192.0.2.1/24abc: ip addr add 192.0.2.1/255.255.255.0 ' seen
grep -q '^192.0.2.1/24 # home: ip addr add 192.0.2.1/255.255.255.0 ' seen
grep -q '^2001:db8::1/64 # home: ip -6 addr add 2001:db8::1/64 # home dev d0' seen

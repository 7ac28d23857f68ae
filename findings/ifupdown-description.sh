#!/bin/sh
# interfaces(5) of ifupdown has the option "description", for every method: an alias of the
# interface. ifup sets it before it runs the commands of pre-up, so that an interface which
# those make, as they do for WireGuard, is not there yet. ifup then takes the interface for
# unknown and leaves it alone: none of its commands is run, and the status is 0, so that at
# boot nothing fails either. Without the description the interface comes up.
#
# Guess before it was run: the alias is set when the link is set up.
# Seen with ifupdown 0.8.41 (Debian 12):
#
#	without description: status 0, the interface is up
#	with description: status 0, there is no interface
#
# Needs root, unshare, ip and the network: it downloads the package and installs nothing.
# It fails where the interface is there with a description too.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download ifupdown
dpkg-deb -x ifupdown_*.deb .
ifup=$(ls sbin/ifup usr/sbin/ifup 2>/dev/null | head -n 1)

try() { # FILE
	unshare -n -m sh -c 'mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/network
		"$0" --no-scripts -i "$1" d0 ; status=$?
		if ip link show up dev d0 2>/dev/null | grep -q .; then
			echo "status $status, the interface is up"
		else
			echo "status $status, there is no interface"
		fi' "$dir/$ifup" "$dir/$1"
}

printf 'iface d0 inet manual\n\tpre-up ip link add $IFACE type veth peer name d1\n' >without
{ cat without; printf '\tdescription the way home\n'; } >with
echo "without description: $(try without)"
echo "with description: $(try with)"
case $(try with) in *up) exit 1 ;; esac

#!/bin/sh
# ifupdown-ng takes the place of ifupdown and reads the same file. It has no "allow-hotplug",
# which Debian's installer writes for the network card: a line with it is taken for an option of
# the interface before, commonly lo, and for a wish for a program "allow" that would set it up
# (an option "WORD-..." is an option of the program WORD). There is none, and nothing is said.
# The card itself is not brought up at boot, nor what requires it, as a tunnel; with "auto"
# it is.
#
# Guess before it was run: it is taken for auto, or refused with the number of the line.
# Seen with ifupdown-ng 0.11.4~rc1 (Debian 12), and the same with 0.12.1 (Debian sid):
#
#	auto eth0: ifup -a brings up lo eth0
#	allow-hotplug eth0: ifup -a brings up lo
#	lo: use link, use loopback, allow-hotplug eth0, use allow
#
# Needs the network and no root: it downloads the package and installs nothing. It fails where
# one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download ifupdown-ng
dpkg-deb -W ifupdown-ng_*.deb
dpkg-deb -x ifupdown-ng_*.deb .
ifup=$(find . -name ifup -o -name ifup-ng | grep sbin)
ifparse=$(find . -name ifparse | grep sbin)

for word in auto allow-hotplug; do
	printf 'auto lo\niface lo inet loopback\n\n%s eth0\niface eth0 inet static\n\taddress 192.0.2.1/24\n' $word >interfaces
	echo "$word eth0: ifup -a brings up $("$ifup" -n -a -l -i interfaces -S state 2>&1 |
		sed -n 's/^ifup.*: changing state of interface \(.*\) to .*/\1/p' | paste -sd ' ')"
done | tee seen
echo "lo: $("$ifparse" -i interfaces lo | sed -n 's/^  *//p' | paste -sd , | sed 's/,/, /g')" | tee -a seen
cat >expected <<'END'
auto eth0: ifup -a brings up lo eth0
allow-hotplug eth0: ifup -a brings up lo
lo: use link, use loopback, allow-hotplug eth0, use allow
END
cmp seen expected

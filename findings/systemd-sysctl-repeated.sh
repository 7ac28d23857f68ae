#!/bin/sh
# systemd-sysctl, which sets the parameters of sysctl.d(5) at boot, passes over a line that
# has been there already, with the same parameter and value, in whatever file. One parameter
# can change another: ip_forward sets the forwarding of every interface, and
# conf.all.disable_ipv6 is like it. A file 90-*.conf that takes one interface out again so has
# no effect, without a word, when that line is in an earlier file too. sysctl(8), by which one
# tries the files out, carries out every line in its place; with another value, or without the
# earlier line, systemd-sysctl does so too.
#
# Guess before it was run: both carry out all lines, in the order of the files.
# Seen with systemd 252 and procps 4.0.2 (Debian 12), and the same with 262.1 and 4.0.7 (sid),
# the forwarding of wg0 afterwards:
#
#	ip_forward = 1, wg0 0: sysctl 0, systemd-sysctl 0
#	wg0 0, ip_forward = 1, wg0 0: sysctl 0, systemd-sysctl 1
#	wg0 1, ip_forward = 1, wg0 0: sysctl 0, systemd-sysctl 0
#
# Needs ip, unshare and the network: it downloads the packages and installs nothing. It needs
# no root where user namespaces may be made. It fails where one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
library=$(apt-cache depends procps | sed -n 's/^ *Depends: \(libproc2.*\)/\1/p')
apt-get -qq -o APT::Sandbox::User=root download systemd libsystemd-shared procps $library
for package in *.deb; do dpkg-deb -x "$package" .; done
basename -a systemd_*.deb procps_*.deb
cat >inside <<'END'
try() { # WHAT VALUE...: the forwarding of wg0 in a file before and one after ip_forward
	what=$1
	shift
	rm -f ??.conf
	[ $# = 1 ] || echo "net.ipv4.conf.wg0.forwarding = $1" >10.conf
	echo 'net.ipv4.ip_forward = 1' >50.conf
	eval last=\$$#
	echo "net.ipv4.conf.wg0.forwarding = $last" >90.conf
	for program in "$sysctl -p" "$systemd"; do
		echo 0 >/proc/sys/net/ipv4/ip_forward
		ip link add wg0 type veth peer name wg1
		$program "$PWD"/??.conf >/dev/null
		cat /proc/sys/net/ipv4/conf/wg0/forwarding
		ip link del wg0
	done | paste -sd ' ' | sed "s/\(.*\) \(.*\)/$what: sysctl \1, systemd-sysctl \2/"
}
try 'ip_forward = 1, wg0 0' 0
try 'wg0 0, ip_forward = 1, wg0 0' 0 0
try 'wg0 1, ip_forward = 1, wg0 0' 1 0
END
sysctl=$(ls "$dir"/sbin/sysctl "$dir"/usr/sbin/sysctl 2>/dev/null | head -n 1)
systemd=$(ls "$dir"/lib/systemd/systemd-sysctl "$dir"/usr/lib/systemd/systemd-sysctl 2>/dev/null | head -n 1)
LD_LIBRARY_PATH=$(find "$dir" -name 'libproc2.so*' -o -name 'libsystemd-shared-*.so' | xargs -n 1 dirname | sort -u | paste -sd :)
export sysctl systemd LD_LIBRARY_PATH
unshare --user --map-root-user --net sh -eu inside | tee seen
cat >expected <<'END'
ip_forward = 1, wg0 0: sysctl 0, systemd-sysctl 0
wg0 0, ip_forward = 1, wg0 0: sysctl 0, systemd-sysctl 1
wg0 1, ip_forward = 1, wg0 0: sysctl 0, systemd-sysctl 0
END
cmp seen expected

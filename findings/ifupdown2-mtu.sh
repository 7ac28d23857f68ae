#!/bin/sh
# ifupdown2 gives an interface whose stanza has no option mtu the MTU 1500, whatever its kind and
# whatever a command of the same stanza made it with. A WireGuard interface, which the kernel makes
# with 1420, then sends packets that no uplink of 1500 carries in one piece. It does so by ifup, or
# (seen with a device of wireguard-go) by the next "ifreload -a", such as Proxmox VE runs for each
# change of its network. A command "up" of the stanza comes later, and lasts; so does the option.
#
# Guess before it was run: ifup and ifreload leave an MTU alone that no option names.
# Seen with ifupdown2 3.0.0 (Debian 12: 3.0.0-1.1), for a veth that "pre-up" makes with 1380:
#
#	pre-up alone: ifup 1500, ifreload 1500
#	with "mtu 1380": ifup 1380, ifreload 1380
#	with "up ip link set d0 mtu 1380": ifup 1380, ifreload 1380
#
# Needs root, python3 and the network: it downloads the package and installs nothing. It fails
# where one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download ifupdown2
dpkg-deb -x ifupdown2_*.deb root
chmod +x root/usr/share/ifupdown2/__main__.py
mkdir etc etc.work

cat >inside <<'INSIDE'
mount -t overlay overlay -o lowerdir=root/usr/share:/usr/share /usr/share
mount -t overlay overlay -o lowerdir=root/etc:/etc,upperdir=etc,workdir=etc.work /etc
mount -t tmpfs tmpfs /var/tmp
mount -t tmpfs tmpfs /run
mkdir /run/network
PATH=$PWD/root/sbin:/usr/sbin:/usr/bin:/sbin:/bin
ip link set lo up
mtu() { cat /sys/class/net/d0/mtu; }
try() { # NAME LINE
	printf 'auto d0\niface d0 inet static\n\taddress 192.0.2.1/24\n\tpre-up ip link add d0 mtu 1380 type veth peer name d1\n\t%s\n\tpost-down ip link del d0\n' \
		"$2" >/etc/network/interfaces
	ifup d0 && by=$(mtu) && ifreload -a && echo "$1: ifup $by, ifreload $(mtu)" && ifdown d0
}
mount -t sysfs sysfs /sys
try 'pre-up alone' ''
try 'with "mtu 1380"' 'mtu 1380'
try 'with "up ip link set d0 mtu 1380"' 'up ip link set d0 mtu 1380'
INSIDE
unshare --mount --net sh inside >seen 2>log || { cat log >&2; exit 1; }
cat seen
[ "$(cat seen)" = 'pre-up alone: ifup 1500, ifreload 1500
with "mtu 1380": ifup 1380, ifreload 1380
with "up ip link set d0 mtu 1380": ifup 1380, ifreload 1380' ]

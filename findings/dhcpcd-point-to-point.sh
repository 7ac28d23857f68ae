#!/bin/sh
# dhcpcd that is to manage all interfaces, its default without arguments, takes over the address that
# somebody else gave a point-to-point interface, such as WireGuard's, though no line of its
# configuration is about it ("using static address"): the route to the address' network, which the
# kernel made, is replaced by one of proto dhcp with a metric. It goes when dhcpcd ends, unless its
# configuration says "persistent"; the kernel does not make its own again. dhcpcd 10.1.0 (Debian 13,
# tried by hand) then removes the address as well.
#
# Guess before it was run: an address that dhcpcd has not set, and its route, are left alone.
# Seen with dhcpcd 9.4.1 (Debian 12) and wireguard-go 0.0.20220316:
#
#	before: 10.9.0.0/24 dev d0 proto kernel scope link src 10.9.0.1
#	dhcpcd: 10.9.0.0/24 dev d0 proto dhcp scope link src 10.9.0.1 metric 1002
#	ended: no route, inet 10.9.0.1/24
#
# Needs root, /dev/net/tun and the network: it downloads the packages and installs nothing. It fails
# where one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download dhcpcd-base wireguard-go
for package in *.deb; do dpkg-deb -x "$package" root; done
printf 'duid\nnodev\nnoipv4ll\nipv4only\n' >dhcpcd.conf

cat >inside <<'INSIDE'
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mkdir /run/dhcpcd /var/lib/dhcpcd
wait_for() { # COMMAND
	for i in $(seq 100); do eval "$1" >/dev/null 2>&1 && return; sleep 0.1; done
	echo "waited in vain for: $1" >&2
	exit 1
}
route() { ip route show dev d0 | sed 's/  */ /g; s/ $//; s/10.9.0.0\/24/& dev d0/'; }
WG_PROCESS_FOREGROUND=0 LOG_LEVEL=silent root/usr/bin/wireguard-go d0 >/dev/null 2>&1
ip address add 10.9.0.1/24 dev d0
ip link set d0 up
echo "before: $(route)"
root/usr/sbin/dhcpcd -B -f "$PWD/dhcpcd.conf" -c /bin/true >/dev/null 2>&1 &
wait_for 'ip route show dev d0 | grep "proto dhcp"'
wait_for '! ip route show dev d0 | grep "proto kernel"'
echo "dhcpcd: $(route | sed 's/metric [0-9]*$/metric 1002/')"
kill $!
wait_for '! pgrep --ns $$ --nslist net,pid dhcpcd'
wait_for '! ip route show dev d0 | grep .'
echo "ended: no route, $(ip -o -4 address show dev d0 | grep -o 'inet [^ ]*')"
INSIDE
unshare --mount --net --pid --fork --mount-proc --kill-child sh inside | tee seen
[ "$(cat seen)" = 'before: 10.9.0.0/24 dev d0 proto kernel scope link src 10.9.0.1
dhcpcd: 10.9.0.0/24 dev d0 proto dhcp scope link src 10.9.0.1 metric 1002
ended: no route, inet 10.9.0.1/24' ]

#!/bin/bash
# wg-quick save, and wg-quick down where SaveConfig is true, writes a file that wg-quick up
# fails with, when the interface has an address with a peer, as a line
# "PostUp = ip address add 10.9.0.1 peer 10.9.0.2 dev %i" gives it. The addresses are taken from
# `ip -brief address`, which prints "10.9.0.1 peer 10.9.0.2/32", and each word becomes an
# Address: the word "peer" too, and the other end's address for one of ours (save_config). The
# file was replaced, and nothing was said.
#
# Guess before it was run: the address is saved with its peer, or left out.
# Seen with wireguard-tools 1.0.20210914 (Debian 12), and the same with 1.0.20260223 (sid):
#
#	up: status 0
#	down: status 0, the file has Address = 10.8.0.1/24, 10.9.0.1, peer, 10.9.0.2/32
#	up: status 1, after ip -4 address add peer dev wg0
#
# Needs root, bash, ip, unshare, /dev/net/tun and the network: it downloads the packages and
# installs nothing. It fails where one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download wireguard-tools wireguard-go
dpkg-deb -W wireguard-tools_*.deb
for package in *.deb; do dpkg-deb -x "$package" .; done
cat >inside <<'END'
set -u
mount --make-rprivate /
mount -t tmpfs none /run
wg_quick() { # VERB
	status=0
	wg-quick "$1" "$PWD/wg0.conf" >said 2>&1 || status=$?
	printf '%s: status %s' "$1" $status
}
wg_quick up
echo
wg_quick down
echo ", the file has Address = $(sed -n 's/^Address = //p' wg0.conf | paste -sd , | sed 's/,/, /g')"
wg_quick up
echo ", after $(sed -n 's/^\[#\] \(.* peer .*\)/\1/p' said)"
END
cat >wg0.conf <<END
[Interface]
PrivateKey = $(usr/bin/wg genkey)
Address = 10.8.0.1/24
PostUp = ip address add 10.9.0.1 peer 10.9.0.2 dev %i; ip address flush dev %i scope link
SaveConfig = true
END
chmod 600 wg0.conf
export PATH=$dir/usr/bin:$PATH WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go
unshare -n -m bash inside | tee seen
cat >expected <<'END'
up: status 0
down: status 0, the file has Address = 10.8.0.1/24, 10.9.0.1, peer, 10.9.0.2/32
up: status 1, after ip -4 address add peer dev wg0
END
cmp seen expected

#!/bin/sh
# `netplan set` reads a whole file and writes all of it again. A firewall mark of 0, which says
# that a tunnel sets none, is then written as "mark: null", whatever was to be set. No command
# of netplan reads that any more: not generate, which runs at each boot, nor get, nor the
# `netplan set` that would put it right. The same becomes of the other numbers of a tunnel that
# are 0: port, mtu, ttl, and the keepalive of a peer.
#
# Guess before it was run: "mark: 0" stays or is left out, as it is the default.
# Seen with netplan 0.106 (Debian 12):
#
#	generate: 0
#	set mtu=1400: 0
#	mark: null
#	generate: 1
#	get: 1
#	set mtu=1300: 1
#
# Needs the network and no root: it downloads the packages and installs nothing. It fails
# where one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download netplan.io libnetplan0 \
	python3-yaml libyaml-0-2 python3-netifaces python3-dbus libdbus-1-3 python3-rich
for package in *.deb; do dpkg-deb -x "$package" .; done
lib=$dir/$(dirname usr/lib/*/libnetplan.so.*)
ln -s libnetplan.so.0.0 "$lib/libnetplan.so" # by which ctypes finds it outside /usr/lib
export LD_LIBRARY_PATH="$lib" PYTHONPATH="$dir/usr/share/netplan:$dir/usr/lib/python3/dist-packages"

mkdir -p root/etc/netplan
cat >root/etc/netplan/wg0.yaml <<-END
	network:
	  version: 2
	  tunnels:
	    wg0:
	      mode: wireguard
	      key: /etc/wireguard/wg0.key
	      mark: 0
	      addresses: [10.9.0.1/24]
	      peers:
	        - keys: {public: $(printf %032d 2 | base64)}
	          allowed-ips: [10.9.0.2/32]
	END
chmod 600 root/etc/netplan/wg0.yaml

run() { # NAME COMMAND: its exit code
	name=$1
	shift
	"$@" >out 2>&1 && code=0 || code=$?
	echo "$name: $code"
}
netplan() { /usr/bin/python3 usr/share/netplan/netplan.script "$@" --root-dir root; }
generate() { usr/libexec/netplan/generate --root-dir root; }

{
	run generate generate
	run "set mtu=1400" netplan set tunnels.wg0.mtu=1400
	sed -n 's/^ *mark/mark/p' root/etc/netplan/wg0.yaml
	run generate generate
	run get netplan get
	run "set mtu=1300" netplan set tunnels.wg0.mtu=1300
} | tee seen
cat >expected <<'END'
generate: 0
set mtu=1400: 0
mark: null
generate: 1
get: 1
set mtu=1300: 1
END
cmp seen expected

#!/bin/sh
# netplan puts the files of /etc/netplan together, and a list of a later file goes behind that
# of an earlier one (netplan-generate(8)). The peers of a WireGuard tunnel do so too, unless
# the later file has exactly as many as the tunnel has by then: those are left out, without a
# word, and other ones come in when a peer is added to either file. netplan reads a file more
# than once, and takes a list of that length for one that it has read before
# (handle_wireguard_peers in src/parse.c). `netplan set` reads what it is given as another
# file: with one peer in a tunnel that has one, it does nothing.
#
# Guess before it was run: a peer with another key goes behind the others, always.
# Seen with netplan 0.106 (Debian 12), and the same with 1.2.2 (Debian sid):
#
#	1 peer, then 1: 10.9.1.1/32
#	1 peer, then 2: 10.9.1.1/32 10.9.2.1/32 10.9.2.2/32
#	2 peers, then 1: 10.9.1.1/32 10.9.1.2/32 10.9.2.1/32
#	2 peers, then 2: 10.9.1.1/32 10.9.1.2/32
#
# Needs the network and no root: it downloads the packages and installs nothing. It fails
# where one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
generator=$(apt-cache show netplan-generator >/dev/null 2>&1 && echo netplan-generator || echo netplan.io)
library=$(apt-cache depends "$generator" | sed -n 's/^ *Depends: \(libnetplan.*\)/\1/p')
apt-get -qq -o APT::Sandbox::User=root download "$generator" $library
for package in *.deb; do dpkg-deb -x "$package" .; done
program=usr/libexec/netplan/configure # which writes networkd's files in 1.2
[ -x $program ] || program=usr/libexec/netplan/generate
LD_LIBRARY_PATH=$(dirname "$(ls usr/lib/*/libnetplan.so.* | head -n 1)")
export LD_LIBRARY_PATH

peers() { # FILE COUNT: peers, whose keys are 32 digits
	echo '      peers:'
	for n in $(seq "$2"); do
		key=$(printf '%d%031d' "$1" "$n" | base64)
		echo "        - {keys: {public: $key}, allowed-ips: [10.9.$1.$n/32]}"
	done
}

try() { # COUNT COUNT
	rm -rf root
	mkdir -p root/etc/netplan root/run
	cat >root/etc/netplan/1.yaml <<-END
		network:
		  version: 2
		  tunnels:
		    wg0:
		      mode: wireguard
		      key: /etc/wireguard/wg0.key
		$(peers 1 "$1")
	END
	printf 'network:\n  tunnels:\n    wg0:\n%s\n' "$(peers 2 "$2")" >root/etc/netplan/2.yaml
	chmod 600 root/etc/netplan/*.yaml
	$program --root-dir root
	sed -n 's/^AllowedIPs=//p' root/run/systemd/network/*.netdev | paste -sd " "
}

{
	echo "1 peer, then 1: $(try 1 1)"
	echo "1 peer, then 2: $(try 1 2)"
	echo "2 peers, then 1: $(try 2 1)"
	echo "2 peers, then 2: $(try 2 2)"
} | tee seen
cat >expected <<'END'
1 peer, then 1: 10.9.1.1/32
1 peer, then 2: 10.9.1.1/32 10.9.2.1/32 10.9.2.2/32
2 peers, then 1: 10.9.1.1/32 10.9.1.2/32 10.9.2.1/32
2 peers, then 2: 10.9.1.1/32 10.9.1.2/32
END
cmp seen expected

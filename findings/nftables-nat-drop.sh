#!/bin/bash
# A chain of "type nat" in which rules drop, and none translates, drops nothing and counts
# nothing: Linux walks such chains for the first packet of a connection, and where nothing
# in the network namespace asks for connection tracking there are none. nft(8) takes the
# rules without a word. As soon as a rule of the same family, in any table, asks for "ct",
# the very same chain drops.
#
# Guess before it was run: the rule drops, as it does in a chain of "type filter".
# Seen with nftables 1.0.6 (Debian 12) on Linux 6.18:
#
#	alone: 4 of 4 packets arrive, the rule has counted 0
#	beside a rule with ct: 0 of 4 packets arrive, the rule has counted 4
#
# Needs root, bash, unshare, ip and the network: it downloads the package and installs
# nothing. It fails where the chain drops by itself.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download nftables libnftables1
for package in *.deb; do dpkg-deb -x "$package" .; done
cat >inside <<'END'
set -eu
ip link set lo up
nft -f - <<'RULES'
table ip arrivals {
	chain in { type filter hook input priority 0; udp dport 7767 counter; }
}
table ip closed {
	chain out { type nat hook output priority -100; udp dport 7767 counter drop; }
}
RULES
counted() { nft list chain ip "$1" "$2" | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }
try() { # WHAT
	local before=$(counted arrivals in) dropped=$(counted closed out)
	for n in 1 2 3 4; do echo "$n" >/dev/udp/127.0.0.1/7767 || true; done 2>/dev/null
	echo "$1: $(($(counted arrivals in) - before)) of 4 packets arrive, the rule has counted $(($(counted closed out) - dropped))"
}
try alone
nft add table ip other
nft add chain ip other watch '{ type filter hook output priority 0; }'
nft add rule ip other watch ct state new counter
try 'beside a rule with ct'
END
export LD_LIBRARY_PATH=$(dirname "$(find "$dir" -name 'libnftables.so.1' | head -n 1)") PATH=$dir/usr/sbin:$PATH
nft --version
unshare -n bash inside | tee seen
grep -q '^alone: 4 of 4 packets arrive, the rule has counted 0$' seen
grep -q '^beside a rule with ct: 0 of 4 packets arrive, the rule has counted 4$' seen

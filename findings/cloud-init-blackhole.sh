#!/bin/sh
# cloud-init writes the network configuration of a server from its provider's or from user
# data, which has netplan's form (version 2), for the program that the server has. For
# systemd-networkd and NetworkManager it leaves out of a route what it does not know, without a
# word: "type: blackhole", which is to keep packets for a tunnel from leaving while it is down,
# and for NetworkManager the table. What becomes of the first is a route that sends them out of
# the interface, and of a default route in a table of its own one in the main table.
#
# Guess before it was run: every route is kept as it is, or what is left out is said.
# Seen with cloud-init 22.4.2 (Debian 12):
#
#	networkd: Destination=0.0.0.0/0 Gateway=192.0.2.254 Destination=10.66.0.0/16
#	network-manager: route1=0.0.0.0/0,192.0.2.254 route2=10.66.0.0/16
#
# and the same with 26.2 (Debian sid), but for Table=77 behind the first. The type is kept for
# netplan alone. Needs the network and no root: it downloads the packages and installs nothing.
# It fails where a route of them is a blackhole, or where something was said of it.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download cloud-init python3-attr python3-certifi python3-chardet \
	python3-configobj python3-idna python3-jinja2 python3-json-pointer python3-jsonpatch python3-jsonschema \
	python3-markupsafe python3-oauthlib python3-pyrsistent python3-requests python3-six python3-urllib3 \
	python3-yaml libyaml-0-2
dpkg-deb -W cloud-init_*.deb
for package in *.deb; do dpkg-deb -x "$package" .; done
LD_LIBRARY_PATH=$dir/$(dirname usr/lib/*/libyaml-0.so.2) PYTHONPATH=$dir/usr/lib/python3/dist-packages
export LD_LIBRARY_PATH PYTHONPATH
cat >data.yaml <<'END'
network:
  version: 2
  ethernets:
    eth0:
      addresses: [192.0.2.1/24]
      routes:
        - {to: 0.0.0.0/0, via: 192.0.2.254, table: 77}
        - {to: 10.66.0.0/16, type: blackhole}
END
for renderer in networkd network-manager; do
	/usr/bin/python3 -m cloudinit.cmd.main devel net-convert -p data.yaml -k yaml -d $renderer -D debian -O $renderer >said 2>&1
	grep -iE 'warn|blackhole|route' said || true
	echo "$renderer: $(find $renderer -name '*eth0*' -type f -exec cat {} + |
		grep -E '^(Destination|Gateway|Table|Type|route[0-9].*)=' | paste -sd ' ')"
done | tee seen
grep -q '^networkd: Destination=0.0.0.0/0 Gateway=192.0.2.254 .*Destination=10.66.0.0/16$' seen
grep -q '^network-manager: route1=0.0.0.0/0,192.0.2.254 route2=10.66.0.0/16$' seen
[ "$(wc -l <seen)" = 2 ] # nothing was said

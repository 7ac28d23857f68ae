#!/bin/sh
# netplan's keys of WireGuard (`key`, `shared`) are base64 or the path of a file (netplan-yaml,
# "Properties for device type tunnels"). One key of wg genkey or wg genpsk in 64 begins with
# a slash, as a path does. 43 letters of base64's and "=" are a key, also with a slash in
# front, and the path of a file that is of that form cannot be said.
#
# Guess before it was run: such a key is taken for a path, as by whoever looks at the
# slash alone.
# Seen with netplan 0.106 (Debian 12), and the same with 1.2.2 (Debian sid):
#
#	/wXvEe3mRULmsCDZxZsq+Q7l3SDUbRCm5qBK+WVg/mQ=: PresharedKey
#	/etc/wireguard/a.psk: PresharedKeyFile
#	/etc/wireguard/apathof44lettersabcdefghijkl=: PresharedKey
#	/etc/wireguard/a-path-of-44-letters.abcdefg=: PresharedKeyFile
#
# Needs the network and no root: it downloads the packages and installs nothing. It fails
# where netplan takes the first for a path.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
generator=$(apt-cache show netplan-generator >/dev/null 2>&1 && echo netplan-generator || echo netplan.io)
library=$(apt-cache depends "$generator" | sed -n 's/^ *Depends: \(libnetplan.*\)/\1/p')
apt-get -qq -o APT::Sandbox::User=root download "$generator" $library
for package in *.deb; do dpkg-deb -x "$package" .; done
LD_LIBRARY_PATH=$(dirname "$(ls usr/lib/*/libnetplan.so.* | head -n 1)")
export LD_LIBRARY_PATH

try() { # SHARED
	rm -rf root
	mkdir -p root/etc/netplan
	cat >root/etc/netplan/1.yaml <<-END
		network:
		  version: 2
		  tunnels:
		    wg0:
		      mode: wireguard
		      key: /etc/wireguard/wg0.key
		      peers:
		        - keys: {public: "rlbInAj0qV69CysWPQY7KEBnKxpYCpaWqOs/dLevdWc=", shared: "$1"}
		          allowed-ips: [10.9.0.2/32]
	END
	chmod 600 root/etc/netplan/1.yaml
	usr/libexec/netplan/generate --root-dir root
	cat root/run/systemd/network/*.netdev | sed -n 's/^\(Preshared[A-Za-z]*\)=.*/\1/p'
}

key='/wXvEe3mRULmsCDZxZsq+Q7l3SDUbRCm5qBK+WVg/mQ=' # made up
slash=$(try "$key")
echo "$key: $slash"
for path in /etc/wireguard/a.psk '/etc/wireguard/apathof44lettersabcdefghijkl=' '/etc/wireguard/a-path-of-44-letters.abcdefg='; do
	echo "$path: $(try "$path")"
done
[ "$slash" = PresharedKey ]

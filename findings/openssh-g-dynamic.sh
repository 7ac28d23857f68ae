#!/bin/sh
# ssh -G prints the configuration that holds for a host, in the form of ssh_config(5), and
# programs read it. A LocalForward that ends in a Unix socket on the other side is printed
# twice: as what it is, and as a DynamicForward of its port or socket here, that is, as a proxy
# to wherever its clients want. Who looks there for proxies finds one that is not; and given to
# ssh -F the output asks for both, of the same port.
#
# Guess before it was run: ssh -G prints the forwards that there are, and reads them back.
# Seen with OpenSSH 9.2p1 (Debian 12), and the same with 10.6p1 (Debian sid):
#
#	LocalForward 8080 192.0.2.1:80
#		localforward 8080 [192.0.2.1]:80
#	LocalForward 8080 /run/docker.sock
#		dynamicforward 8080
#		localforward 8080 /run/docker.sock
#	DynamicForward 8080
#		dynamicforward 8080
#
# Needs the network and no root: it downloads the package and installs nothing. It fails
# where one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download openssh-client
dpkg-deb -x openssh-client_*.deb .
usr/bin/ssh -V
for line in 'LocalForward 8080 192.0.2.1:80' 'LocalForward 8080 /run/docker.sock' 'DynamicForward 8080'; do
	echo "$line" | tee config
	usr/bin/ssh -T -G -F config host.example | sed -n 's/^[a-z]*forward .*/	&/p'
done >seen
cat seen
cat >expected <<'END'
LocalForward 8080 192.0.2.1:80
	localforward 8080 [192.0.2.1]:80
LocalForward 8080 /run/docker.sock
	dynamicforward 8080
	localforward 8080 /run/docker.sock
DynamicForward 8080
	dynamicforward 8080
END
cmp seen expected

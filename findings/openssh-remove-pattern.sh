#!/bin/sh
# ssh-keygen -R HOST takes the keys of a host that was installed anew out of known_hosts; ssh
# itself names the command when a host's key has changed. It takes out each line that holds for
# the host, whole: with it a line of a pattern, as for all hosts of a domain or of a tunnel's
# prefix, or of several names, and all its other hosts are unknown afterwards. Lines marked
# @cert-authority or @revoked stay, and so does a pattern that names the host with "!".
#
# Guess before it was run: a line of a pattern stays, as one with a mark does.
# Seen with OpenSSH 9.2p1 (Debian 12), and the same with 10.6p1 (Debian sid), the lines that
# are left of each file:
#
#	*.example: none
#	10.9.0.*,*.example: none
#	hub.example,shale.example: none
#	*.example,!shale.example: *.example,!shale.example
#	@cert-authority *.example: @cert-authority *.example
#
# Needs the network and no root: it downloads the package and installs nothing. It fails
# where one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download openssh-client
dpkg-deb -x openssh-client_*.deb .
dpkg-deb -W openssh-client_*.deb
usr/bin/ssh-keygen -q -t ed25519 -N '' -C '' -f key
for names in '*.example' '10.9.0.*,*.example' 'hub.example,shale.example' '*.example,!shale.example' '@cert-authority *.example'; do
	echo "$names $(cat key.pub)" >known_hosts
	usr/bin/ssh-keygen -R shale.example -f known_hosts >said 2>&1
	left=$(sed -n 's/ ssh-ed25519 .*//p' known_hosts)
	echo "$names: ${left:-none}"
done | tee seen
cat >expected <<'END'
*.example: none
10.9.0.*,*.example: none
hub.example,shale.example: none
*.example,!shale.example: *.example,!shale.example
@cert-authority *.example: @cert-authority *.example
END
cmp seen expected

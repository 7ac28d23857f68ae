#!/bin/sh
# age -o FILE FILE, to encrypt a file in its place: age 1.1.1 of Debian 12 opens the output when
# it writes the header, before it has read a byte, and then reads on in what it wrote. The
# status is 0, and FILE holds the encryption of its own header: what it had is lost. To decrypt
# in place loses all behind the first 64 KiB, with status 1; a smaller file comes out right,
# and passes for a test.
#
# Guess before it was run: it is refused, or works as with sponge(1).
# Seen with age 1.1.1 (Debian 12):
#
#	encrypted in its place: status 0, holds another text
#	decrypted in its place, 6 bytes: status 0, holds the text
#	decrypted in its place, 100000 bytes: status 1, holds another text
#
# With age 1.2.1 (Debian 13), 1.3.2 and rage 0.12.1 (Debian sid) it is refused, and FILE stays
# as it was. Needs the network and no root: it downloads the package and installs nothing. It
# fails where one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq -o APT::Sandbox::User=root download age
dpkg-deb -x age_*.deb .
PATH=$dir/usr/bin:$PATH
age --version

say() { # WHAT STATUS FILE
	if cmp -s "$3" text; then
		echo "$1: status $2, holds the text"
	else
		echo "$1: status $2, holds another text"
	fi
}
decrypt() { # SIZE
	head -c "$1" /dev/zero >text
	age -r "$key" -o file text
	status=0
	age -d -i identity -o file file 2>said || status=$?
	say "decrypted in its place, $1 bytes" $status file
}

age-keygen -o identity 2>/dev/null
key=$(age-keygen -y identity)
{
	echo secret >text
	cp text file
	status=0
	age -r "$key" -o file file 2>said || status=$?
	age -d -i identity file >out 2>said || true
	say 'encrypted in its place' $status out
	decrypt 6
	decrypt 100000
} | tee seen
cat >expected <<'END'
encrypted in its place: status 0, holds another text
decrypted in its place, 6 bytes: status 0, holds the text
decrypted in its place, 100000 bytes: status 1, holds another text
END
cmp seen expected

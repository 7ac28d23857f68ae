#!/bin/sh
# age -d -o FILE opens FILE when there is something to write, and of a file that was empty
# when it was encrypted there is nothing: FILE is not made, and where it is there it keeps
# what it had, with status 0. To standard output the same file is empty, and age -e -o makes
# its file. So who decrypts over an older copy has that copy afterwards, and a script that
# does so for many files takes it for the new one.
#
# Guess before it was run: FILE is empty afterwards, as with > FILE.
# Seen with age 1.1.1 (Debian 12):
#
#	new file: status 0, is not there
#	older copy: status 0, has "older"
#	standard output: status 0, is empty
#
# and the same with rage 0.12.1 (Debian sid); with age 1.2.1 (Debian 13) and 1.3.2 all three
# are empty. Needs the network and no root: it downloads the package and installs nothing. It
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
	if [ ! -e "$3" ]; then
		echo "$1: status $2, is not there"
	elif [ -s "$3" ]; then
		echo "$1: status $2, has \"$(cat "$3")\""
	else
		echo "$1: status $2, is empty"
	fi
}

age-keygen -o key 2>/dev/null
: >nothing
age -r "$(age-keygen -y key)" -o nothing.age nothing
echo older >copy
{
	status=0
	age -d -i key -o new nothing.age || status=$?
	say 'new file' $status new
	status=0
	age -d -i key -o copy nothing.age || status=$?
	say 'older copy' $status copy
	status=0
	age -d -i key nothing.age >out || status=$?
	say 'standard output' $status out
} | tee seen
cat >expected <<'END'
new file: status 0, is not there
older copy: status 0, has "older"
standard output: status 0, is empty
END
cmp seen expected

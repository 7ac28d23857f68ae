#!/bin/sh
# wg-quick(8) with DNS= and ifupdown's dns-nameservers hand a tunnel's resolvers to
# `resolvconf -a`. Where /etc/resolv.conf is a plain file that somebody else wrote, as a
# container's or a provider's image has it, openresolv of Debian 12 and 13 puts that file aside
# and writes its own. That of Debian sid refuses and fails, and keeps the entry all the same:
# wg-quick takes the interface down again, and at the next `resolvconf -u` the resolvers of a
# tunnel that is not up are written.
#
# Guess before it was run: all of them replace the file, and say so at most.
# Seen:
#
#	3.12.0 (bookworm): exit 0, the file is replaced, the entry is there
#	3.13.2 (trixie): exit 0, the file is replaced, the entry is there
#	3.17.4 (sid): exit 1, the file stays, the entry is there
#		resolvconf: signature mismatch: /etc/resolv.conf
#		resolvconf: run `resolvconf -u` to update
#
# Needs the network, and root for a mount namespace: it downloads the packages and installs
# nothing. It fails where sid's no longer refuses.
set -eu

self=$(cd "$(dirname "$0")" && pwd)/${0##*/}
if [ "${1:-}" != try ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	cd "$dir"
fi
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | head -n 1)

fetch() { # SUITE: its openresolv, unpacked in SUITE/root
	mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
	echo "deb [trusted=yes] $mirror $1 main" >"$1/list"
	set -- "$1" -qq -o Dir::Etc::SourceList="$dir/$1/list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$dir/$1/lists" -o Dir::Cache="$dir/$1/cache" -o APT::Sandbox::User=root
	suite=$1
	shift
	apt-get "$@" update
	(cd "$suite" && apt-get "$@" download openresolv && dpkg-deb -x openresolv_*.deb root)
}

try() { # SUITE, in a mount namespace of its own
	mount --make-rprivate /
	mount -t tmpfs none /run
	printf '# of the image\nnameserver 192.0.2.53\n' >/run/resolv.conf
	mount --bind /run/resolv.conf /etc/resolv.conf
	# bookworm has it in /lib, which is the same folder.
	[ -d "$1/root/usr/lib" ] || mv "$1/root/lib" "$1/root/usr/lib"
	mount -t overlay none -o "lowerdir=$PWD/$1/root/usr/lib:/usr/lib" /usr/lib
	program=$(ls "$1"/root/sbin/resolvconf "$1"/root/usr/sbin/resolvconf 2>/dev/null | head -n 1)
	status=0
	printf 'nameserver 198.51.100.1\n' | sh "$program" -a wg0 -m 0 -x >/run/said 2>&1 || status=$?
	file=replaced entry=gone
	grep -q '^# of the image' /etc/resolv.conf && file=kept
	sh "$program" -l | grep -q 198.51.100.1 && entry=there
	echo "$(basename "$1"/openresolv_*.deb): exit $status, the file is $file, the entry is $entry"
	cat /run/said
}

if [ "${1:-}" = try ]; then
	cd "$2"
	try "$3"
	exit
fi
for suite in bookworm trixie sid; do
	fetch "$suite"
	unshare -m sh "$self" try "$dir" "$suite" | tee "$suite/seen"
done
grep -q 'exit 1, the file is kept, the entry is there' sid/seen
grep -q 'signature mismatch' sid/seen

#!/bin/sh
# Fetches a kernel for the VM laboratory and unpacks it; nothing is installed.
#
#	kernel.sh			this machine's Debian's own, into .lab/kernel
#	kernel.sh 6.1|6.12|newest	that one, into .lab/kernel-NAME
#
# It is what Debian's linux-image-cloud-amd64 stands for: one package with
# everything up to Linux 6, and from 7 on a stand-in for linux-binary-V and
# linux-modules-V. The packages of other Debians are looked up in lists of their own
# below .lab/apt, which this machine's apt never sees.
set -eu
cd "$(dirname "$0")/../.."

name=${1:-}
folder=.lab/kernel${name:+-$name}
options="-o APT::Sandbox::User=root -o Acquire::Languages=none"

# The image is in /boot, and from Linux 7 on beside its modules.
has_kernel() { # FOLDER VERSION
	set -- "$1/boot/vmlinuz-$2"* "$1/usr/lib/modules/$2"*/vmlinuz
	[ -e "$1" ] || [ -e "$2" ]
}

# Lists of the suites alone, of which the newest version counts: experimental has
# no priority of its own (apt_preferences(5)).
use_suites() { # SUITE...
	apt=.lab/apt-$name
	mkdir -p "$apt/lists/partial" "$apt/cache"
	for suite; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main"
	done >"$apt/sources.list"
	printf 'Package: *\nPin: release o=Debian\nPin-Priority: 500\n' >"$apt/preferences"
	options="$options -o Dir::Etc::sourcelist=$PWD/$apt/sources.list -o Dir::Etc::sourceparts=/dev/null
		-o Dir::Etc::preferences=$PWD/$apt/preferences -o Dir::Etc::preferencesparts=/dev/null
		-o Dir::State::lists=$PWD/$apt/lists -o Dir::Cache=$PWD/$apt/cache
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"
}

# The packages of one version of the kernel that linux-image-cloud-amd64 stands for.
find_packages() {
	apt-cache $options depends --recurse --no-recommends --no-suggests --no-breaks --no-conflicts --no-replaces \
		linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/^linux-\(base\|image\|binary\|modules\)-[0-9][^ ]*$/&/p' | sort -u
}

case $name in
"" | newest) version= ;;
*) version=$name. ;;
esac
if has_kernel "$folder" "$version"; then
	exit 0
fi
if [ -n "$version" ] && has_kernel .lab/kernel "$version"; then
	ln -sfn kernel "$folder" # this machine's own is the one
	exit 0
fi

case $name in
"") ;;
6.1) use_suites bookworm ;;
6.12) use_suites trixie ;;
newest) use_suites sid experimental ;;
*)
	echo "usage: kernel.sh [6.1|6.12|newest]" >&2
	exit 2
	;;
esac
packages=$(find_packages)
if [ -z "$packages" ] && { [ -n "$name" ] || [ "$(id -u)" = 0 ]; }; then
	echo "lab: apt-get update, for there is no list of packages"
	apt-get $options -qq update
	packages=$(find_packages)
fi
if [ -z "$packages" ]; then
	echo "lab: apt knows no linux-image-cloud-amd64; run: sudo apt-get update && make lab" >&2
	exit 1
fi

echo "lab:" $packages "downloaded and unpacked into $folder: a kernel with WireGuard for the tests"
work=.lab/new-kernel${name:+-$name}
rm -rf "$work"
mkdir -p "$work/packages" "$work/files"
(cd "$work/packages" && apt-get $options -qq download $packages)
for package in "$work"/packages/*.deb; do
	dpkg-deb -x "$package" "$work/files"
done
# The laboratory reads modules as they are, and from 6.12 on they are compressed.
find "$work/files" -name '*.ko.xz' -exec xz -d {} +
rm -rf "$folder"
mv "$work/files" "$folder"
rm -rf "$work"

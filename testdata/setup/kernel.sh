#!/bin/sh
# Fetches the kernel of the VM laboratory: the package that Debian's
# linux-image-cloud-amd64 stands for, unpacked into .lab/kernel and not
# installed.
set -eu
cd "$(dirname "$0")/../.."

if ls .lab/kernel/boot/vmlinuz-* >/dev/null 2>&1; then
	exit 0
fi

# The first name on a "Depends:" line of the stand-in.
find_package() {
	apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1
}

package=$(find_package)
if [ -z "$package" ] && [ "$(id -u)" = 0 ]; then
	echo "lab: apt-get update, for there is no list of packages"
	apt-get -qq update
	package=$(find_package)
fi
if [ -z "$package" ]; then
	echo "lab: apt knows no linux-image-cloud-amd64; run: sudo apt-get update && make lab" >&2
	exit 1
fi

echo "lab: $package, downloaded and unpacked into .lab/kernel: a kernel with WireGuard for the tests"
mkdir -p .lab
rm -rf .lab/download .lab/unpacked
mkdir .lab/download .lab/unpacked
(cd .lab/download && apt-get -qq -o APT::Sandbox::User=root download "$package")
dpkg-deb -x .lab/download/"$package"_*.deb .lab/unpacked
rm -rf .lab/download .lab/kernel
mv .lab/unpacked .lab/kernel

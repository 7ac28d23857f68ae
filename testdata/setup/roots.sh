#!/bin/sh
# Makes the roots of .lab/roots that `make installs` brings the program to: Debian 12 with
# ifupdown, Debian 13 with systemd, one with busybox and OpenRC in place of coreutils and
# systemd, and one for arm64, which qemu-user runs. Nothing of them is installed here. They
# are some 350 MB to download.
set -eu
cd "$(dirname "$0")/../.."
roots=$PWD/.lab/roots
mirror=http://deb.debian.org/debian

if [ "$(id -u)" != 0 ]; then
	echo "installs: debootstrap needs root; run: sudo make installs" >&2
	exit 1
fi
for package in debootstrap qemu-user-static systemd-container; do
	[ "$(dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || {
		echo "installs: apt-get install $package"
		apt-get -qq install -y --no-install-recommends "$package" >/dev/null
	}
done

# root NAME SUITE PACKAGES [OPTIONS...]: a root that was not finished is made again.
root() {
	local name=$1 suite=$2 packages=$3
	shift 3
	[ "$(cat "$roots/$name.complete" 2>/dev/null)" = "$suite $packages" ] && return
	echo "installs: debootstrap of Debian $suite in .lab/roots/$name"
	rm -rf "$roots/$name" "$roots/$name.complete"
	mkdir -p "$roots"
	debootstrap --variant=minbase "--include=$packages" "$@" "$suite" "$roots/$name" "$mirror" >"$roots/$name.log"
	[ ! -x "$roots/$name/debootstrap/debootstrap" ] || chroot "$roots/$name" /debootstrap/debootstrap --second-stage >>"$roots/$name.log"
	# "$name" is called by "finish_$name", where there is one.
	if command -v "finish_$name" >/dev/null; then "finish_$name" "$roots/$name"; fi
	echo "$suite $packages" >"$roots/$name.complete"
}

# OpenRC takes the place of sysv-rc, which is not left out otherwise, and busybox that of
# each program of coreutils' that it has, and of sh.
finish_openrc() {
	chroot "$1" sh -ec 'apt-get -qq update
		DEBIAN_FRONTEND=noninteractive apt-get -qq -o APT::Sandbox::User=root install -y --no-install-recommends openrc >/dev/null'
	chroot "$1" /bin/busybox sh -ec '
		for path in $(/usr/bin/dpkg -L coreutils | /bin/busybox grep bin/); do
			/bin/busybox rm -f "$path"
		done
		for name in $(/bin/busybox --list); do
			[ -e "/bin/$name" ] || [ -e "/sbin/$name" ] || /bin/busybox ln -s busybox "/bin/$name"
		done
		/bin/busybox ln -sf busybox /bin/sh'
}

root debian12 bookworm openssh-server,ifupdown,systemd-sysv,dbus
root debian13 trixie openssh-server,systemd-sysv,dbus
root openrc bookworm openssh-server,busybox

# The kernel runs programs for arm64 by qemu's where it has been told to, as the package does
# where systemd runs; the interpreter is opened once, so that it is found in every root (F in
# Documentation/admin-guide/binfmt-misc.rst).
misc=/proc/sys/fs/binfmt_misc
mountpoint -q "$misc" || mount -t binfmt_misc none "$misc"
if [ ! -e "$misc/qemu-aarch64" ]; then
	cat /usr/lib/binfmt.d/qemu-aarch64*.conf >"$misc/register"
fi
root arm64 bookworm openssh-server --arch=arm64 --foreign

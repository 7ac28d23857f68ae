#!/bin/sh
# Makes the disk of a Debian sid machine with the real systemd, systemd-networkd,
# NetworkManager, ifupdown and netplan in .lab/sid, for `make systemd` and `make trips`.
# Nothing of it is installed here. The packages are some 160 MB to download; the disk is made again when a file of
# testdata/sid changes.
#
# The kernel has what it boots from built in (nvme, ext4), and so needs no initramfs.
set -eu
cd "$(dirname "$0")/../.."
lab=.lab/sid
files=testdata/sid

if [ "$(id -u)" != 0 ]; then
	echo "systemd: debootstrap needs root; run: sudo make systemd" >&2
	exit 1
fi
command -v debootstrap >/dev/null || {
	echo "systemd: apt-get install debootstrap"
	apt-get -qq install -y --no-install-recommends debootstrap >/dev/null
}

# A root of other packages is made again.
packages=systemd-sysv,udev,dbus,network-manager,iproute2,nftables,iptables,tcpdump,wireguard-tools,ifupdown,openresolv,netplan.io,iputils-ping,procps,kmod,dnsmasq-base

mkdir -p "$lab"
if [ "$(cat "$lab/root.complete" 2>/dev/null)" != "$packages" ]; then
	echo "systemd: debootstrap of Debian sid in $lab/root"
	rm -rf "$lab/root"
	debootstrap --variant=minbase "--include=$packages" \
		sid "$lab/root" http://deb.debian.org/debian >"$lab/debootstrap.log"
	echo "$packages" >"$lab/root.complete"
fi

# The parts of the package that linux-image-cloud-amd64 stands for, without the
# initramfs and the boot loader that it would install.
if ! ls "$lab"/root/usr/lib/modules/*/vmlinuz >/dev/null 2>&1; then
	version=$(chroot "$lab/root" apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: linux-image-\([0-9].*\)/\1/p' | head -n 1)
	echo "systemd: linux-image-$version"
	chroot "$lab/root" sh -c "cd /tmp && apt-get -qq -o APT::Sandbox::User=root download linux-base-$version linux-binary-$version linux-modules-$version"
	for package in "$lab"/root/tmp/linux-*.deb; do
		dpkg-deb -x "$package" "$lab/root"
		rm "$package"
	done
	chroot "$lab/root" depmod -a "$version"
fi

# ifupdown is unpacked alone: to install it would have it set up the machine's network.
if [ ! -e "$lab/root/usr/sbin/ifup" ]; then
	echo "systemd: ifupdown"
	chroot "$lab/root" sh -c "cd /tmp && apt-get -qq -o APT::Sandbox::User=root download ifupdown && dpkg -x ifupdown_*.deb / && rm ifupdown_*.deb"
fi

disk=$lab/disk.img
if [ -e "$disk" ] && [ -z "$(find "$files" "$0" -newer "$disk")" ]; then
	exit 0
fi
root=$lab/root
echo basalt >"$root/etc/hostname"
printf '127.0.0.1 localhost\n192.0.2.1 shale\n' >"$root/etc/hosts"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
install -m 755 "$files/lab-shell" "$files/lab-far" "$files/lab-trial" "$files/lab-snapshot" "$files/lab-tunnel" "$files/lab-trip" "$root/usr/local/sbin"
install -m 644 "$files"/*.service "$root/etc/systemd/system"
# Which manager runs is said on the kernel's command line. What has no part in it is
# left out: the machine is emulated, and slow.
units() {
	SYSTEMD_IGNORE_CHROOT=1 chroot "$root" systemctl --quiet "$@" 2>/dev/null
}
units mask networking.service ifupdown-pre.service netplan-configure.service
units disable NetworkManager.service NetworkManager-wait-online.service systemd-networkd.service
units enable lab-shell.service lab-far.service
units mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer systemd-tmpfiles-clean.timer \
	getty@.service serial-getty@.service ldconfig.service polkit.service systemd-binfmt.service systemd-hostnamed.service \
	systemd-hwdb-update.service systemd-journal-flush.service systemd-logind.service systemd-networkd-persistent-storage.service \
	systemd-pstore.service systemd-random-seed.service systemd-update-done.service systemd-user-sessions.service
printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf"

# The tunnel: a repository with the public keys alone, and the keys of both ends.
mkdir -p "$root/etc/lab" "$root/root/net/tunnels" "$root/root/net/keyring/shale" "$root/root/net/keyring/basalt"
install -d -m 700 "$root/etc/wireguard"
(umask 077 && wg genkey >"$root/etc/lab/far.key" && wg genkey >"$root/etc/wireguard/wg0.key")
wg pubkey <"$root/etc/lab/far.key" >"$root/root/net/keyring/shale/wg0.pub"
wg pubkey <"$root/etc/wireguard/wg0.key" >"$root/root/net/keyring/basalt/wg0.pub"
: >"$root/root/net/wgkeys.toml"
cp "$files/wg0.toml" "$root/root/net/tunnels/wg0.toml"
mkdir -p "$root/etc/systemd/network" "$root/etc/NetworkManager/system-connections"
cp "$files"/*.network "$root/etc/systemd/network/"

echo "systemd: $disk"
cp "$root"/usr/lib/modules/*/vmlinuz "$lab/vmlinuz"
rm -f "$disk"
mkfs.ext4 -q -F -O ^has_journal -d "$root" "$disk" 1400M

#!/bin/bash
# The packages of a release on clean Debians 12 and 13: installed by apt, the demo run from
# them, upgraded and removed while a tunnel carries packets, purged; the manual, and Tab in
# three shells; the .rpm by dnf and zypper; the .apk: make packages-test. What it prints is recorded in
# cmd/wgkeys/doc/measured/release.md. The roots are some 250 MB to download.
#
# The root of a test is an overlay: what is written to it is gone afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. testdata/release/shells.sh
[ "$(id -u)" = 0 ] || {
	echo "packages: needs root; run: sudo make packages-test" >&2
	exit 1
}
for package in debootstrap lintian systemd-container tmux; do
	[ "$(dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || apt-get -qq install -y --no-install-recommends "$package" >/dev/null
done
roots=$PWD/.lab/roots work=$PWD/.lab/packages
# Of a system that ran in it something may hold a root for some more time.
unmount() { for root in "$work"/*/merged; do ! mountpoint -q "$root" || umount -R --lazy "$root"; done; }
unmount
machine=
tmux="tmux -L wgkeys-$$ -f /dev/null"
trap '[ -z "$machine" ] || halt; $tmux kill-server 2>/dev/null || true; unmount' EXIT
rm -rf "$work"
mkdir -p "$work" "$roots"

fail() {
	echo "packages: FAILED: $*" >&2
	exit 1
}
say() { printf '%-10s %s\n' "$name" "$*"; }

for suite in bookworm trixie; do
	[ -e "$roots/clean-$suite.complete" ] && continue
	rm -rf "$roots/clean-$suite"
	debootstrap --variant=minbase $suite "$roots/clean-$suite" http://deb.debian.org/debian >"$roots/clean-$suite.log"
	touch "$roots/clean-$suite.complete"
done
for version in 1.0.0 1.0.1; do
	DIRTY=yes VERSION=$version PLATFORMS=linux/amd64 DIST=$work/$version testdata/release/build.sh 2>"$work/$version.log" ||
		fail "the build: $(cat "$work/$version.log")"
done

name=sbom
schemas=$(go mod download -json github.com/CycloneDX/cyclonedx-go@v0.9.3 | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/schema
found=$(go run ./testdata/release/sbom "$schemas" "$work"/1.0.0/*.cdx.json) || fail "the SBOM"
say "valid by the schema of CycloneDX 1.6: $found"

# overlay NAME SUITE: a root of its own in $root.
overlay() {
	name=$1 root=$work/$1/merged
	mkdir -p "$work/$1"/{upper,work,merged}
	mount -t overlay overlay -o "lowerdir=$roots/clean-$2,upperdir=$work/$1/upper,workdir=$work/$1/work" "$root"
	mkdir -p "$root/root/release"
	cp "$work"/1.0.*/*.{deb,rpm,apk} "$root/root/release/"
	cp /etc/resolv.conf "$root/etc/"
	[ ! -d /etc/apt/apt.conf.d ] || cp -n /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
}
# The laboratory refuses a chroot, so this is a root in mount, process and network
# namespaces of its own. Its file systems of the kernel are its own too.
inside() { # inside COMMAND...
	unshare --mount --pid --fork --kill-child --net --uts --ipc sh -ec '
		root=$1
		shift
		mount --make-rprivate /
		mount --bind "$root" "$root"
		mount -t proc proc "$root/proc"
		mount -t sysfs sysfs "$root/sys"
		mount --rbind /dev "$root/dev"
		mount -t tmpfs tmpfs "$root/tmp"
		mkdir -p "$root/.before"
		cd "$root"
		pivot_root . .before
		umount -l /.before
		rmdir /.before
		ip link set lo up 2>/dev/null || true
		exec "$@"' sh "$root" "$@"
}
here() { # here COMMAND...: in the root, with this machine's network
	mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
	chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}
apt() { here apt-get -qq -y -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 "$@" >>"$work/$name/apt.log" 2>&1 || fail "apt $*: $(tail -n 5 "$work/$name/apt.log")"; }

# All files of the root but what apt, dpkg and rpm keep for themselves.
files() {
	(cd "$root" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./tmp -o -path ./var/cache -o -path ./var/log \
		-o -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/lib/rpm -o -path ./usr/lib/sysimage/rpm -o -path ./root/release \) -prune -o -print | sort)
}
# boot has the root's own systemd run, without a network, and halt ends it.
boot() {
	local _
	umount "$root/proc"
	: >"$root/etc/machine-id"
	SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network systemd-nspawn --quiet --register=no --keep-unit \
		--console=pipe "--directory=$root" --private-network --capability=CAP_NET_ADMIN --bind=/dev/net/tun --boot \
		>"$work/$name/boot.log" 2>&1 </dev/null &
	machine=$!
	for _ in $(seq 600); do
		kill -0 $machine 2>/dev/null || fail "nspawn: $(cat "$work/$name/boot.log")"
		case $(booted systemctl is-system-running 2>/dev/null) in
		running | degraded) return ;;
		esac
		sleep 0.5
	done
	fail "systemd does not come up: $(cat "$work/$name/boot.log")"
}
booted() { # booted COMMAND...: in what boot has started
	nsenter --target "$(pgrep -P "$machine" | head -n 1)" --all /usr/bin/env -i \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
}
halt() {
	kill -TERM "$machine" 2>/dev/null || true # which systemd-nspawn takes for a poweroff
	wait "$machine" 2>/dev/null || true
	machine=
}

left() { # left FILES-BEFORE: what there is since, in one line
	comm -13 "$1" <(files) | grep -v '^\./run/\|^\./home/' | tr '\n' ' ' | sed 's/ $//'
}

# Both ends of a tunnel in one root, each with /etc/wireguard, /etc/wgkeys and /run of its
# own. Packets go a hundred times a second; the command runs once they flow.
cat >"$work/traffic.sh" <<'END'
set -e
cd /root
export HOME=/root
mkdir -p /root/b/wireguard /root/b/wgkeys /root/b/run /etc/wgkeys /etc/wireguard
hostname a
wgkeys init -q net >/dev/null 2>&1
cd net
cat >tunnels/wg0.toml <<X
[hosts.a]
addresses = ["10.77.0.1/24"]
endpoint = "192.0.2.1"
[hosts.b]
addresses = ["10.77.0.2/24"]
endpoint = "192.0.2.2"
X
wgkeys gen a b >/dev/null 2>&1
unshare --net sleep 1000 >/dev/null 2>&1 &
b=$!
while [ "$(readlink /proc/$b/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add eth0 type veth peer name eth0 netns $b
ip addr add 192.0.2.1/24 dev eth0
ip link set eth0 up
on_b() { nsenter --net=/proc/$b/ns/net unshare --mount --uts sh -ec 'hostname b; for f in wireguard wgkeys; do mount --bind /root/b/$f /etc/$f; done; mount --bind /root/b/run /run; cd /root/net; "$@"' sh "$@"; }
on_b ip link set lo up
on_b ip addr add 192.0.2.2/24 dev eth0
on_b ip link set eth0 up
wgkeys push --unknown a >/dev/null
wgkeys apply -q >/dev/null
on_b wgkeys push --host b b >/dev/null
on_b wgkeys apply -q --host b >/dev/null
ping -q -n -c 1 -w 20 10.77.0.2 >/dev/null
ping -n -q -i 0.01 10.77.0.2 >/root/ping.out 2>&1 &
ping=$!
sleep 1
sh -ec "$1" </dev/null >/root/change.out 2>&1
sleep 1
kill -INT $ping
wait $ping || true
sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received.*/\1 sent, \2 received/p' /root/ping.out
END

for suite in bookworm trixie; do
	overlay "habits-$suite" $suite
	apt update
	apt install --no-install-recommends man-db bash-completion zsh fish
	here useradd --create-home ada
	files >"$work/$name/before"
	apt install --no-install-recommends /root/release/wgkeys_1.0.0_amd64.deb
	habits
	apt purge wgkeys
	[ -z "$(left "$work/$name/before")" ] || fail "after a purge there is $(left "$work/$name/before")"
	say "apt purge: nothing is left"
	umount -R "$root"
done

for suite in bookworm trixie; do
	overlay "debian-$suite" $suite
	apt update
	files >"$work/$name/before"
	apt install --no-install-recommends /root/release/wgkeys_1.0.0_amd64.deb
	say "apt install ./wgkeys_1.0.0_amd64.deb: $(here wgkeys --version)"
	[ "$(here dpkg-query -L wgkeys | sed -n 's#^/usr/bin/##p')" = wgkeys ] || fail "no program"
	here dpkg --verify wgkeys
	apt purge wgkeys
	[ -z "$(left "$work/$name/before")" ] || fail "after a purge there is $(left "$work/$name/before")"
	say "apt purge: nothing is left"

	apt install --no-install-recommends /root/release/wgkeys_1.0.0_amd64.deb
	apt install --no-install-recommends iproute2 util-linux procps iputils-ping wireguard-tools openssh-client openssh-server
	inside wgkeys demo >"$work/$name/demo" 2>&1 || fail "demo: $(tail -n 5 "$work/$name/demo")"
	say "wgkeys demo: $(grep -c ' \$ ' "$work/$name/demo") commands, $(grep -c 'bytes from' "$work/$name/demo") pings answered"

	files >"$work/$name/before"
	cp "$work/traffic.sh" "$root/root/"
	flow=$(inside sh /root/traffic.sh 'apt-get -qq -y -o APT::Sandbox::User=root install /root/release/wgkeys_1.0.1_amd64.deb; wgkeys --version; wgkeys apply; wgkeys install -n || true') ||
		fail "traffic: $(cat "$root/root/change.out")"
	case $flow in
	*sent*) say "apt install of 1.0.1 in a tunnel of 100 packets a second: $flow" ;;
	*) fail "traffic: $flow; $(cat "$root/root/change.out")" ;;
	esac
	[ "$(here wgkeys --version | cut -d " " -f 2)" = v1.0.1 ] || fail "the upgrade left $(here wgkeys --version)"
	grep -q '/usr/local/bin/wgkeys\|/etc/systemd/system/wgkeys@' "$root/root/change.out" &&
		fail "install is at odds with the package: $(cat "$root/root/change.out")"
	rm -rf "$root/root/net" "$root/root/b"
	flow=$(inside sh /root/traffic.sh 'apt-get -qq -y remove wgkeys') || fail "traffic: $(cat "$root/root/change.out")"
	say "apt remove in it: $flow; it says: $(grep -h '^wgkeys:' "$root/root/change.out")"
	rm -rf "$root/root/net" "$root/root/b" "$root"/root/{ping.out,change.out,traffic.sh} "$root/root/.config"
	apt purge wgkeys
	say "apt purge after that leaves: $(left "$work/$name/before")"
	umount -R "$root"
done

# The .rpm by the package managers of Fedora and openSUSE, which Debian has too, where
# systemd runs. Their databases hold nothing else: what a package needs of another would fail.
overlay rpm trixie
apt update
apt install --no-install-recommends rpm dnf zypper systemd-sysv dbus iproute2 iputils-ping procps wireguard-tools
boot
dnf="dnf -y -q --disablerepo=* --setopt=install_weak_deps=False"
zypper="zypper -n --no-refresh"
booted sh -c "rpm --initdb; $dnf list --installed; $zypper search -i" >"$work/$name/first" 2>&1 || true
cp "$work/traffic.sh" "$root/root/"
files >"$work/$name/before"
left_of_rpm() { left "$work/$name/before" | tr ' ' '\n' | grep '^\./etc/\|^\./usr/' | tr '\n' ' '; }
tries() { booted "$@" >"$work/$name/said" 2>&1 || fail "$*: $(cat "$work/$name/said")"; }

tries $dnf install /root/release/wgkeys-1.0.0-1.x86_64.rpm
booted rpm -V wgkeys
say "dnf install: $(booted wgkeys --version)"
flow=$(booted sh /root/traffic.sh "systemctl enable wgkeys@wg0; $dnf upgrade /root/release/wgkeys-1.0.1-1.x86_64.rpm; wgkeys apply") ||
	fail "traffic: $(cat "$root/root/change.out")"
[ "$(booted wgkeys --version | cut -d " " -f 2)" = v1.0.1 ] || fail "the upgrade left $(booted wgkeys --version)"
grep -q "wg0: nothing to do" "$root/root/change.out" || fail "after the upgrade: $(cat "$root/root/change.out")"
[ -L "$root/etc/systemd/system/multi-user.target.wants/wgkeys@wg0.service" ] || fail "the upgrade has it no longer start at boot"
reloads=$(booted journalctl --boot --no-pager | grep -c 'systemd.*Reloading finished')
[ "$reloads" -ge 3 ] || fail "systemd read its units $reloads times: at installation, by enable, at the upgrade"
say "dnf upgrade in a tunnel of 100 packets a second: $flow"
booted sh -c 'cd /root/net && wgkeys down -q && systemctl start wgkeys@wg0'
tries $dnf remove wgkeys
booted ip link show dev wg0 >/dev/null || fail "the tunnel went with the package"
[ -z "$(booted systemctl --failed --no-legend)" ] || fail "$(booted systemctl --failed)"
say "dnf remove: the tunnel stays up; there is $(left_of_rpm)"

for version in 1.0.0 1.0.1; do
	tries $zypper --no-remote install --allow-unsigned-rpm /root/release/wgkeys-$version-1.x86_64.rpm
	[ "$(booted wgkeys --version | cut -d " " -f 2)" = v$version ] || fail "zypper leaves $(booted wgkeys --version)"
done
say "zypper install of 1.0.0, then of 1.0.1: $(booted wgkeys --version)"
# It fails where a database becomes empty, after all has been done.
booted $zypper remove wgkeys >"$work/$name/said" 2>&1 || grep -q "Failed to cache rpm database" "$work/$name/said" || fail "zypper remove: $(cat "$work/$name/said")"
[ ! -e "$root/usr/bin/wgkeys" ] || fail "zypper remove: $(cat "$work/$name/said")"
say "zypper remove: there is $(left_of_rpm)"
halt
unmount

# The .apk by the Go library that apko(1) installs Alpine's packages with, as Debian has no
# apk(8). It runs no scripts, and the package has none; it cannot upgrade or remove.
overlay apk trixie
cp -r testdata/release/apk "$work/apk-source" # a module of its own
mv "$work/apk-source/main.go.txt" "$work/apk-source/main.go"
(cd "$work/apk-source" && GOFLAGS= go build -o "$work/apk-add" .)
mkdir "$root/alpine"
"$work/apk-add" "$root/alpine" "$root/root/release/"wgkeys_1.0.0_x86_64.apk >"$work/$name/said" 2>&1 || fail "$(cat "$work/$name/said")"
grep -q '^P:wgkeys$' "$root/alpine/lib/apk/db/installed" || fail "it is not in the database"
[ -x "$root/alpine/etc/init.d/wgkeys" ] || fail "no script of OpenRC's"
say "installed in a folder: $(chroot "$root/alpine" /usr/bin/wgkeys --version), $(grep -c '^R:' "$root/alpine/lib/apk/db/installed") files"
umount -R "$root"

name=signed
key=$work/key
ssh-keygen -q -t ed25519 -N '' -C '' -f "$key"
echo "release@example.org namespaces=\"wgkeys-release\" $(cut -d ' ' -f 1,2 "$key.pub")" >"$work/signers"
ssh-keygen -q -Y sign -f "$key" -n wgkeys-release "$work/1.0.0/SHA256SUMS"
testdata/release/verify.sh "$work/signers" "$work/1.0.0" >/dev/null || fail "a good release is refused"
echo >>"$work/1.0.0/build.txt"
! testdata/release/verify.sh "$work/signers" "$work/1.0.0" >/dev/null 2>&1 || fail "a changed file passes"
echo >>"$work/1.0.0/SHA256SUMS"
! testdata/release/verify.sh "$work/signers" "$work/1.0.0" >/dev/null 2>&1 || fail "changed sums pass"
say "verify.sh takes the release, and refuses a changed file and changed sums"

name=lintian
command -v lintian >/dev/null || fail "no lintian"
lintian --fail-on error,warning "$work/1.0.0/"*.deb 2>&1 | grep -v 'root privileges' && fail lintian
say "no error and no warning, $(grep -c '^wgkeys:' testdata/release/lintian-overrides) overrides with their reasons"

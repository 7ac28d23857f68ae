#!/bin/sh
# Installs what the tests or the demo need and the machine lacks, on Debian:
#
#	packages.sh test|demo|many|bench
#
# Nothing that is there is touched. Without root it only says what to run.
set -eu

# The command that is looked for, its package, and what needs it.
list() {
	cat <<-END
		ip iproute2 network namespaces and links
		sysctl procps forwarding and router advertisements
		ping iputils-ping to see that packets arrive
		wg wireguard-tools the reference for WireGuard's own output
		ssh openssh-client to log in to laboratory hosts
		sshd openssh-server real ssh servers on laboratory hosts; none is started on this machine
	END
	if [ "$1" = many ]; then
		echo ansible ansible another way to bring key files to many hosts
	fi
	if [ "$1" = bench ]; then
		cat <<-END
			iperf3 iperf3 how much goes through a tunnel
			wireguard-go wireguard-go another device in user space
			rsync rsync to have files as they were before a run
		END
	fi
	[ "$1" = test ] || return 0
	cat <<-END
		setpriv util-linux programs of users who are not root
		age age that stock age opens the vault
		nft nftables masquerading
		iptables iptables firewalls of others
		systemd-analyze systemd that the units are valid
		strace strace faults in system calls
		git git to keep a configuration in
		locale-gen locales a git that speaks another language
		sudo sudo push to a user who is not root
		busybox busybox the smallest sh that push speaks to
		mksh mksh another sh, whose echo and printf are its own
		tcsh tcsh a login shell that is no sh
		fish fish a login shell that is no sh
		zsh zsh a login shell, and completion
		bash bash completion
		less less the pager where nobody has chosen one
		mandoc mandoc that the pages of the manual are right
		zbarimg zbar-tools an independent reader of QR codes
		xz xz-utils kernel modules, which are compressed from Linux 6.12 on
		qemu-system-x86_64 qemu-system-x86 the VM laboratory: a kernel with WireGuard
	END
}

# An unprivileged user's PATH has no sbin.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing=$(list "$1" | while read -r command package why; do
	command -v "$command" >/dev/null 2>&1 || echo "$package $why"
done)
if [ -n "$missing" ]; then
	echo "$missing" | while read -r package why; do
		echo "setup: needs $package: $why"
	done
fi
if [ "$(id -u)" != 0 ]; then
	echo "setup: network namespaces need root; run: sudo make $1" >&2
	exit 1
fi
[ -n "$missing" ] || exit 0

names=$(echo "$missing" | cut -d ' ' -f 1)
if ! command -v apt-get >/dev/null 2>&1; then
	echo "setup: no apt-get here; install by hand:" $names >&2
	exit 1
fi

# openssh-server starts its server when it is installed. policy-rc.d is
# Debian's way to forbid that (invoke-rc.d(8)); one that is there stays, and
# ours goes with this script. The unit is disabled too, so that the next boot
# does not start it either.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

install() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $names >/dev/null
}
if ! apt-get -qq install -s --no-install-recommends $names >/dev/null 2>&1; then
	echo "setup: apt-get update, for the lists of packages are missing or old"
	apt-get -qq update
fi
echo "setup: apt-get install" $names
install || { apt-get -qq update && install; }
case " $(echo $names) " in
*" openssh-server "*)
	if [ -d /run/systemd/system ]; then
		systemctl --quiet disable ssh.service ssh.socket 2>/dev/null || true
	fi
	;;
esac

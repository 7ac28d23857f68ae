#!/bin/sh
# Fetches the network managers, and firewalld, that the tests try wgkeys with into
# .lab/managers, one folder each:
#
#	managers.sh [NAME...]
#
# Nothing is installed: a manager on this machine would take its network over.
# The tests unpack the packages on laboratory hosts; the emulated machine has
# systemd-networkd from .lab/managers/networkd/files.
#
# A folder holds the package and those that it needs and the machine lacks.
set -eu
cd "$(dirname "$0")/../.."

chosen=" $* "

fetch() { # FOLDER PACKAGE...
	case $chosen in
	"  " | *" $1 "*) ;;
	*) return 0 ;;
	esac
	folder=.lab/managers/$1
	shift
	[ ! -e "$folder/complete" ] || return 0
	names=$(needs "$@")
	if [ -z "$names" ]; then
		echo "managers: apt-get update, for there is no list of packages"
		apt-get -qq update
		names=$(needs "$@")
	fi
	rm -rf "$folder"
	mkdir -p "$folder"
	for package in $names; do
		echo "managers: $package, for $folder"
		(cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download "$package")
	done
	touch "$folder/complete"
}

# The packages themselves, also where they are installed, and what they lack.
needs() {
	lacks=$(apt-get install -s --no-install-recommends "$@" 2>/dev/null | sed -n 's/^Inst \([^ ]*\).*/\1/p')
	apt-cache show "$@" >/dev/null 2>&1 || return 0
	printf '%s\n' "$@" $lacks | sort -u
}

fetch resolved systemd-resolved systemd libsystemd-shared dbus-daemon dbus-system-bus-common
fetch networkd systemd libsystemd-shared dbus-daemon dbus-system-bus-common
fetch openresolv openresolv
fetch resolvconf resolvconf
fetch ifupdown2 ifupdown2
fetch dhcpcd dhcpcd-base
fetch ifupdown ifupdown
fetch NetworkManager network-manager dbus-daemon dbus-system-bus-common
fetch firewalld firewalld python3-firewall dbus-daemon dbus-system-bus-common

files=.lab/managers/networkd/files
if [ -d .lab/managers/networkd ] && [ ! -e $files ]; then
	for package in .lab/managers/networkd/*.deb; do
		dpkg-deb -x "$package" $files.new
	done
	mv $files.new $files
fi

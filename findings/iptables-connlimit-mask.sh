#!/bin/sh
# iptables does not find a rule with "-m connlimit" by what it prints for it. A rule that is
# added without a mask is kept with one of all bits, which iptables -S and iptables-save print
# as --connlimit-mask 32; -C and -D with those very words say that there is no such rule, and
# without the mask they find it. A rule that is added with --connlimit-mask 32, as
# iptables-restore does, is printed the same and found. So a script that takes its rules away
# by their printed form leaves this one, until the rules were saved and restored once.
#
# Guess before it was run: -C finds every rule that -S prints.
# Seen with iptables 1.8.9 (Debian 12), nf_tables and legacy, and the same with 1.8.13 (sid):
#
#	added without a mask: -C finds it without: yes, as printed: no
#	added with a mask of 32: -C finds it without: no, as printed: yes
#
# Needs root, unshare and iptables. It fails where one of them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >inside <<'END'
found() { iptables -C FORWARD "$@" -j DROP 2>/dev/null && echo yes || echo no; }
try() { # WHAT MATCH...
	what=$1
	shift
	iptables -A FORWARD "$@" -j DROP
	printed=$(iptables -S FORWARD | sed -n 's/^-A FORWARD \(.*\) -j DROP$/\1/p')
	echo "$what: -C finds it without: $(found -m connlimit --connlimit-above 5), as printed: $(found $printed)"
	iptables -F FORWARD
}
try 'added without a mask' -m connlimit --connlimit-above 5
try 'added with a mask of 32' -m connlimit --connlimit-above 5 --connlimit-mask 32
END
iptables --version
unshare -n -m sh -c 'mount --make-rprivate / && mount -t tmpfs none /run && exec sh -eu inside' | tee seen
cat >expected <<'END'
added without a mask: -C finds it without: yes, as printed: no
added with a mask of 32: -C finds it without: no, as printed: yes
END
cmp seen expected

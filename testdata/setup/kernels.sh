#!/bin/sh
# Runs the virtual machine's tests on each kernel and prints the table of
# cmd/wgkeys/doc/measured/kernels.md:
#
#	kernels.sh VM [KERNEL...]	VM is the program that testdata/vm builds
#
# What was said goes to .lab/kernels/KERNEL.log.
set -eu
cd "$(dirname "$0")/../.."
export CI=true CGO_ENABLED=0 WGKEYS_LAB_KERNEL
vm=$1
shift
[ $# -gt 0 ] || set -- 6.1 6.12 newest

# What `make test` runs in the machine is given as PACKAGE and PATTERN.
run() { # PATTERN PACKAGE [FLAG...]
	pattern=$1
	shift
	go test -p 1 -count 1 -v -timeout 60m -exec "$vm" -run "$pattern" "$@" >>"$log" 2>&1
}

# A row's cell: the lines of the log that the pattern finds, made shorter.
found() { sed -n "s/^.*_test.go:[0-9]*: $1\$/\\1/p" "$log" | tr '\n' ';' | sed 's/;$//; s/;/, /g'; }

mkdir -p .lab/kernels
failed=
table=
for WGKEYS_LAB_KERNEL; do
	testdata/setup/kernel.sh "$WGKEYS_LAB_KERNEL"
	log=.lab/kernels/$WGKEYS_LAB_KERNEL.log
	: >"$log"
	selection=passes
	make -s vm-selection KERNEL="$WGKEYS_LAB_KERNEL" >>"$log" 2>&1 || selection=FAILS
	run '^TestLabRotate$/^kernel$/^10ms$|^TestLabTransitions$/^wgkeys$' ./cmd/wgkeys -long rotations || selection="$selection; rotations or transitions FAIL"
	case $selection in
	*FAIL*) failed=1 ;;
	esac
	version=$(cd ".lab/kernel-$WGKEYS_LAB_KERNEL" && ls -d lib/modules/* usr/lib/modules/* 2>/dev/null | head -n 1)
	table="$table| ${version##*/} | $selection | $(found '\(20 rotations of .*\)') | $(found 'wgkeys apply: \(.*\)'); $(found '\([0-9]* transitions lost packets\)') |
"
done
printf '%s\n' '| kernel | selection | rotations at 10 ms | transitions |' '|---|---|---|---|'
printf '%s' "$table"
[ -z "$failed" ] || {
	echo "kernels: see .lab/kernels/*.log" >&2
	exit 1
}

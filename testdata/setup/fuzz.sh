#!/bin/sh
# Runs every fuzz target of the project, one after the other, each for FUZZTIME (1m): all
# that `go test -list` finds, or those whose package and name match FUZZ (grep -E). A line of
# a table a target: seconds, inputs, what was new. What a target finds stops it, and is left
# in its testdata/fuzz, to be mended and kept: the others are run all the same.
#
#	FUZZTIME=1h FUZZ='deploy/tunnel Fuzz' make fuzz
set -eu
cd "$(dirname "$0")/../.."
: "${FUZZTIME:=1m}" "${FUZZ:=.}"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 1' HUP INT TERM
status=0
for package in $(grep -rl --include='*_test.go' '^func Fuzz' cmd deploy keyring vault | xargs -n1 dirname | sort -u); do
	for target in $(go test -list '^Fuzz' "./$package" | grep '^Fuzz'); do
		echo "$package $target" | grep -qE -e "$FUZZ" || continue
		found=none
		go test -vet=off -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" "./$package" >"$log" 2>&1 || {
			found="one, see below" status=1
		}
		# fuzz: elapsed: 1m0s, execs: 123456 (2057/sec), new interesting: 12 (total: 34)
		sed -n 's/^fuzz: elapsed: \([^,]*\), execs: \([0-9]*\) .*new interesting: \([0-9]*\) .*/\1 | \2 | \3/p' "$log" |
			tail -n 1 | { read -r figures || figures="0s | 0 | 0"; echo "| $package | $target | $figures | $found |"; }
		[ "$found" = none ] || sed 's/^/    /' "$log" | tail -n 40
	done
done
exit "$status"

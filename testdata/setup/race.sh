#!/bin/sh
# Runs tests with Go's race detector, which is C: all packages, or those that are named, with
# what else `go test` is to get:
#
#	testdata/setup/race.sh
#	testdata/setup/race.sh ./cmd/wgkeys -run TestLabRotate
#
# The program that laboratories run is the binary of the test, and so raced too. It and what
# runs beside it take five to ten times as long: what a test measures decides nothing here.
set -eu
cd "$(dirname "$0")/../.."
if ! command -v gcc >/dev/null 2>&1; then
	echo "race: apt-get install gcc libc6-dev"
	apt-get -qq install -y --no-install-recommends gcc libc6-dev >/dev/null
fi
[ $# -gt 0 ] || set -- -parallel 2 ./...
# Each process that found one writes it there; see cmd/wgkeys/race_test.go.
log=/tmp/wgkeys-race
rm -rf "$log"
mkdir -m 1777 "$log"
trap 'rm -rf "$log"' EXIT
trap 'exit 1' HUP INT TERM
status=0
CGO_ENABLED=1 GORACE="log_path=$log/race" go test -race -vet=off -count 1 -timeout 180m "$@" || status=$?
races=$(cat "$log"/race.* 2>/dev/null | grep -c '^WARNING: DATA RACE') || true
cat "$log"/race.* 2>/dev/null || true
echo "race: ${races:-0} found"
[ "${races:-0}" = 0 ] || exit 66
exit "$status"

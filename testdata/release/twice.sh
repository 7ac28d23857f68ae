#!/bin/bash
# Builds a release in two folders that share nothing, with different times, umasks, locales
# and caches, and compares every byte: make release-twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for copy in one other/and/deeper; do
	mkdir -p "$work/$(dirname "$copy")"
	git clone --quiet . "$work/$copy"
	mkdir -p "$work/$copy/.lab"
	[ ! -d .lab/bin ] || cp -r .lab/bin "$work/$copy/.lab/" # what is pinned need not be built again
done
(cd "$work/one" && DIST=$work/one.dist testdata/release/build.sh)
(cd "$work/other/and/deeper" && umask 077 && TZ=Asia/Tokyo LC_ALL=C.UTF-8 GOCACHE=$work/cache GOAMD64=v3 HOSTNAME=elsewhere \
	DIST=$work/other.dist testdata/release/build.sh)
diff -r "$work/one.dist" "$work/other.dist"
echo "release-twice: the same bytes, $(wc -l <"$work/one.dist/SHA256SUMS") files"

#!/bin/bash
# Builds a release again of its source and compares every byte:
#
#	rebuild.sh FOLDER [REPOSITORY]
#
# REPOSITORY is a clone, or where one can be had; default: the one this script lies in. Go's
# own download brings the version of Go that was used (GOTOOLCHAIN), and its proxy the rest.
set -euo pipefail
folder=$(cd "${1:?usage: rebuild.sh FOLDER [REPOSITORY]}" && pwd)
repository=${2:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
value() { sed -n "s/^$1=//p" "$folder/build.txt"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet --no-checkout "$repository" "$work/wgkeys"
git -C "$work/wgkeys" checkout --quiet --detach "$(value commit)"
(cd "$work/wgkeys" && GOTOOLCHAIN=$(value go) VERSION=$(value version) MAINTAINER=$(value maintainer) PLATFORMS=$(value platforms) \
	SIGN= DIST=$work/dist testdata/release/build.sh)

if diff "$folder/SHA256SUMS" "$work/dist/SHA256SUMS" && (cd "$folder" && sha256sum --check --strict --quiet SHA256SUMS); then
	echo "rebuild: the same bytes, $(wc -l <"$folder/SHA256SUMS") files"
else
	echo "rebuild: not the same" >&2
	exit 1
fi

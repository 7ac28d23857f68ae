#!/bin/sh
# Has Go build sops into .lab/bin, for make bench.
set -eu
cd "$(dirname "$0")/../.."
version=v3.11.0
[ "$(cat .lab/bin/sops.version 2>/dev/null)" = "$version" ] && exit 0
GOBIN=$PWD/.lab/bin GOFLAGS= go install "github.com/getsops/sops/v3/cmd/sops@$version"
echo "$version" >.lab/bin/sops.version

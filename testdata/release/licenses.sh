#!/bin/bash
# Prints the copyright file of the packages: what the program is made of, and the licence of
# each of its modules, as they ask for.
#
#	licenses.sh [debian]	debian: the long licences that every Debian has are named alone
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cat <<'END'
wgkeys is free software, under the licence that follows. The program holds
code of Go's standard library and of the modules that are named below it, each
with a licence of its own.

END
cat LICENSE
printf '\n\n==== Go %s\n\n' "$(go env GOVERSION)"
cat "$(go env GOROOT)/LICENSE"
for platform in linux darwin windows; do
	GOOS=$platform GOARCH=amd64 go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/wgkeys
done | sort -u | while read -r path version dir; do
	printf '\n\n==== %s %s\n' "$path" "$version"
	found=$(find "$dir" -maxdepth 1 -type f -iregex '.*/\(licen[cs]e\|copying\|notice\|patents\)[^/]*' | sort)
	[ -n "$found" ] || {
		echo "licenses: no licence in $path $version" >&2
		exit 1
	}
	while read -r file; do
		printf '\n'
		if [ "${1:-}" = debian ] && grep -q 'Apache License' "$file" && grep -q 'Version 2.0, January 2004' "$file"; then
			echo "Apache License, Version 2.0: /usr/share/common-licenses/Apache-2.0"
		else
			cat "$file"
		fi
	done <<<"$found"
done

#!/bin/bash
# Builds a release into dist: make release [VERSION=1.2.3] [SIGN=KEY].
#
# The same commit, version and Go give the same bytes in whatever folder: no clock, no
# name of this machine and nothing of git goes in but what is said here.
#
#	VERSION     default: the commit's tag (v1.2.3), or 0.0.0-preDATE where it has none
#	SIGN        an ssh key for ssh-keygen -Y sign; none: the release is unsigned
#	MAINTAINER  who stands behind the packages; default: the author of the commit
#	DIST        where it goes; default: dist
#	PLATFORMS   some of those below, for a try
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here=testdata/release
nfpm_version=v2.45.1
sbom_version=v1.10.0

platforms=${PLATFORMS:-"linux/amd64 linux/arm64 linux/armv7 linux/riscv64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64"}
dist=${DIST:-dist}
commit=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
version=${VERSION:-$(git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null || date -u -d "@$SOURCE_DATE_EPOCH" +0.0.0-pre%Y%m%d)}
version=${version#v}
maintainer=${MAINTAINER:-$(git log -1 --format='%an <%ae>')}
if [ -n "$(git status --porcelain)" ]; then
	echo "release: the working folder is not as commit ${commit:0:12} has it; git status tells how" >&2
	[ "${DIRTY:-}" = yes ] || exit 1
fi

export SOURCE_DATE_EPOCH CGO_ENABLED=0 GOFLAGS=-tags=urfave_cli_no_docs GOEXPERIMENT= GOFIPS140=off
export GOAMD64=v1 GOARM64=v8.0 GOARM=7 GORISCV64=rva20u64 LC_ALL=C TZ=UTC
umask 022
rm -rf "$dist"
mkdir -p "$dist"
dist=$(cd "$dist" && pwd)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

tool() { # tool PATH VERSION: the path of the program
	local program=$PWD/.lab/bin/${1##*/}-$2
	if [ ! -x "$program" ]; then
		GOBIN=$PWD/.lab/bin/$2 GOFLAGS= go install -trimpath "$1@$2" >&2
		mv ".lab/bin/$2/${1##*/}" "$program"
	fi
	echo "$program"
}
nfpm=$(tool github.com/goreleaser/nfpm/v2/cmd/nfpm $nfpm_version)
sbom=$(tool github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod $sbom_version)

build() { # build OS ARCH FILE
	local arch=$2
	[ "$arch" != armv7 ] || arch=arm
	GOOS=$1 GOARCH=$arch go build -trimpath -buildvcs=false -o "$3" \
		-ldflags "-s -w -X main.release=$version -X main.commit=$commit -X main.committed=$date" ./cmd/wgkeys
}

# The hash of the program that writes an SBOM depends on where it was built.
without_tool() {
	sed '/"tools": \[/,/^    \],/ { /"hashes": \[/,/^ *\],/d }'
}

for platform in $platforms; do
	os=${platform%/*} arch=${platform#*/}
	file=$dist/wgkeys-$os-$arch
	[ "$os" != windows ] || file=$file.exe
	echo "release: $platform" >&2
	build "$os" "$arch" "$file"
	(cd "$dist" && "$sbom" bin -json -std -noserial -notimestamp -version "v$version" \
		"${file##*/}" 2>/dev/null) | without_tool >"$dist/wgkeys-$os-$arch.cdx.json"
done

# The texts of a package are of the program itself, so one for this machine tells them.
native=$stage/wgkeys
build "$(go env GOHOSTOS)" "$(go env GOHOSTARCH)" "$native"

put() { # put MODE PATH <TEXT: a file of all packages
	mkdir -p "$stage/root/$(dirname "$2")"
	cat >"$stage/root/$2"
	chmod "$1" "$stage/root/$2"
}

for unit in deploy/host/boot/files/*.service; do
	sed 's#/usr/local/bin/wgkeys#/usr/bin/wgkeys#' "$unit" | put 644 "usr/lib/systemd/system/${unit##*/}"
done
sed 's#/usr/local/bin/wgkeys#/usr/bin/wgkeys#' deploy/host/boot/files/openrc | put 755 etc/init.d/wgkeys

doc=usr/share/doc/wgkeys
for text in README.md SECURITY.md cmd/wgkeys/doc/*.md; do
	gzip -9n <"$text" | put 644 "$doc/${text##*/}.gz"
done
$here/licenses.sh debian | put 644 $doc/copyright
$here/licenses.sh | put 644 $doc/LICENSES
printf 'wgkeys (%s) unstable; urgency=medium\n\n  * The release %s, of commit %.12s.\n\n -- %s  %s\n' "${version/-/\~}" \
	"$version" "$commit" "$maintainer" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n | put 644 $doc/changelog.gz
put 644 usr/share/lintian/overrides/wgkeys <$here/lintian-overrides

if "$native" help --man "$stage/man" >/dev/null 2>&1 && [ -d "$stage/man" ]; then
	for page in "$stage"/man/*.[1-9]; do
		gzip -9n <"$page" | put 644 "usr/share/man/man${page##*.}/${page##*/}.gz"
	done
else
	echo "release: without man pages: this wgkeys has none" >&2
fi
completion() { # completion SHELL PATH
	if text=$("$native" completion "$1" 2>/dev/null); then
		put 644 "$2" <<<"$text"
	else
		echo "release: without completion for $1: this wgkeys has none" >&2
	fi
}
completion bash usr/share/bash-completion/completions/wgkeys
completion zsh usr/share/zsh/vendor-completions/_wgkeys
completion fish usr/share/fish/vendor_completions.d/wgkeys.fish

for schema in cmd/wgkeys/doc/schema/*.schema.json; do # which an editor completes tunnel files by
	name=${schema##*/}
	"$native" help --schema "${name%.schema.json}" | put 644 "usr/share/wgkeys/$name"
done

summary="WireGuard keys in a vault, tunnels in plain text"
description="wgkeys keeps the private keys of WireGuard tunnels encrypted by age in a
git repository and the tunnels beside them as plain text. It brings keys to
their hosts over ssh, applies the tunnels there, and replaces the keys of a
running tunnel without the loss of a packet."

# config FORMAT ARCH FILE: what nfpm makes a package of. In an .apk each field is one line,
# and what stands in another makes .PKGINFO unreadable.
config() {
	local format=$1 source target about=$description
	[ "$format" != apk ] || about=
	cat <<-END
		name: wgkeys
		arch: $2
		platform: linux
		version: $version
		section: net
		priority: optional
		maintainer: "$maintainer"
		license: MIT
		mtime: $date
		description: |
		  $summary
		$(sed 's/^/  /' <<<"$about")
		deb:
		  compression: xz
		rpm:
		  buildhost: localhost
		  group: Applications/Internet
		  summary: $summary
		disable_globbing: true
		overrides:
		  deb:
		    recommends: [openssh-client, git]
		    suggests: [age, iproute2, iputils-ping, nftables, openssh-server, procps, wireguard-tools]
		    scripts:
		      postinstall: $here/deb/postinst
		      preremove: $here/deb/prerm
		      postremove: $here/deb/postrm
		  rpm:
		    recommends: [openssh-clients, git]
		    scripts:
		      postinstall: $here/rpm/post
		      preremove: $here/rpm/preun
		      postremove: $here/rpm/postun
		contents:
		  - { src: $3, dst: /usr/bin/wgkeys, file_info: { mode: 0755, owner: root, group: root } }
	END
	# Folders that may be no other package's, or go with none: rpm removes what is owned.
	local folders="usr/share/doc/wgkeys usr/share/wgkeys"
	[ "$format" != rpm ] || folders+=" usr/share/bash-completion usr/share/bash-completion/completions usr/share/fish
		usr/share/fish/vendor_completions.d usr/share/zsh usr/share/zsh/site-functions"
	for target in $folders; do
		printf '  - { dst: /%s, type: dir, file_info: { mode: 0755, owner: root, group: root } }\n' "$target"
	done
	while read -r source; do
		target=$source
		case $format/$source in
		deb/etc/init.d/* | rpm/etc/init.d/* | apk/usr/lib/systemd/*) continue ;;
		deb/*/LICENSES | rpm/*/copyright | apk/*/copyright) continue ;;
		rpm/*/lintian/* | apk/*/lintian/* | rpm/*/changelog.gz | apk/*/changelog.gz) continue ;;
		rpm/*/vendor-completions/* | apk/*/vendor-completions/*) target=usr/share/zsh/site-functions/_wgkeys ;;
		esac
		printf '  - { src: %s, dst: /%s, file_info: { mode: 0%s, owner: root, group: root } }\n' "$stage/root/$source" "$target" \
			"$(stat -c %a "$stage/root/$source")"
	done < <(cd "$stage/root" && find . -type f -printf '%P\n' | sort)
}

for platform in $platforms; do
	case $platform in
	linux/*) ;;
	*) continue ;;
	esac
	arch=${platform#*/}
	for format in deb rpm apk; do
		config $format "${arch/armv7/arm7}" "$dist/wgkeys-linux-$arch" >"$stage/nfpm.yaml"
		"$nfpm" package --config "$stage/nfpm.yaml" --packager $format --target "$dist/" >/dev/null
	done
done

cp $here/verify.sh "$dist/"
cat >"$dist/build.txt" <<END
version=$version
commit=$commit
maintainer=$maintainer
platforms=$platforms
go=$(go env GOVERSION)
nfpm=$nfpm_version
cyclonedx-gomod=$sbom_version
END
cd "$dist"
sha256sum -- $(ls | sort) >"$stage/sums"
mv "$stage/sums" SHA256SUMS
if [ -n "${SIGN:-}" ]; then
	ssh-keygen -q -Y sign -f "$SIGN" -n wgkeys-release SHA256SUMS
else
	echo "release: unsigned, for SIGN names no key" >&2
fi
echo "release: wgkeys $version, $(wc -l <SHA256SUMS) files in $dist" >&2

#!/bin/bash
# The administrator's side for Windows, run by wine: make wine. What it prints is recorded in
# cmd/wgkeys/doc/measured/release.md. Debian 12's wine is too old for programs of Go 1.26: it
# lacks bcryptprimitives.dll. So a root of Debian 13 is made, with wine 10; it is some 250 MB
# to download.
#
# There are no git and no ssh for Windows in it: what asks them is not tried.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(id -u)" = 0 ] || {
	echo "wine: needs root; run: sudo make wine" >&2
	exit 1
}
command -v debootstrap >/dev/null || apt-get -qq install -y --no-install-recommends debootstrap >/dev/null
root=$PWD/.lab/roots/wine
if [ ! -e "$root.complete" ]; then
	rm -rf "$root"
	mkdir -p "${root%/*}"
	debootstrap --variant=minbase trixie "$root" http://deb.debian.org/debian >"$root.log"
	cp /etc/resolv.conf "$root/etc/"
	cp -n /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
	chroot "$root" sh -ec 'apt-get -qq update
		DEBIAN_FRONTEND=noninteractive apt-get -qq -o APT::Sandbox::User=root install -y --no-install-recommends wine wine64' >>"$root.log" 2>&1
	touch "$root.complete"
fi

export CGO_ENABLED=0 GOFLAGS=-tags=urfave_cli_no_docs
work=$root/root/work
rm -rf "$work"
mkdir -p "$work"
GOOS=windows GOARCH=amd64 go build -trimpath -o "$work/wgkeys.exe" ./cmd/wgkeys
go build -trimpath -o "$work/wgkeys" ./cmd/wgkeys
# Of the tests of keyring/files those that are written for Windows: the others ask Unix.
files=$(GOOS=windows go list -f '{{range .GoFiles}}{{$.Dir}}/{{.}} {{end}}' ./keyring/files)
GOOS=windows go test -vet=off -c -o "$work/files.exe" $files $PWD/keyring/files/*_windows_test.go


cat >"$work/run" <<'END'
set -eu
cd /root/work
export WINEPREFIX=$PWD/prefix WINEDEBUG=-all LC_ALL=C.UTF-8 XDG_RUNTIME_DIR=/tmp
step() { echo "wine: $*"; }
wgkeys() { wine "$OLDPWD/wgkeys.exe" "$@" 2>>"$OLDPWD/said" | tr -d '\r'; }
code() { # code WANTED COMMAND...: what it says is in the file said
	local wanted=$1 got=0
	shift
	: >"$OLDPWD/said"
	wine "$OLDPWD/wgkeys.exe" "$@" >>"$OLDPWD/said" 2>&1 || got=$?
	[ $got = "$wanted" ] || fail "wgkeys $*: $got and not $wanted"
}
fail() {
	echo "wine: FAILED: $*: $(tail -n 20 "$OLDPWD/said")" >&2
	exit 1
}
says() { grep -qF -- "$1" "$OLDPWD/said" || fail "it does not say: $1"; }

wineboot --init >/dev/null 2>&1
step "$(wine --version 2>/dev/null)"
wine ./files.exe -test.v >tests 2>&1 || { cat tests >&2; exit 1; }
step "tests of keyring/files: $(grep -c '^--- PASS' tests) passed"

mkdir repository
cd repository
step "wgkeys --version: $(wgkeys --version)"
wgkeys help | grep -q '^Usage: wgkeys VERB' || fail help
code 0 init .
code 0 init .
says "nothing was changed"
cat >tunnels/wg0.toml <<'TOML'
listen_port = 30567
psk = true

[hosts.shale]
endpoint = "93.93.130.7"
routes = ["::/0"]
forward = true

[hosts.basalt]
addresses = ["2001:db8:7767::2/128"]
TOML
code 0 gen shale basalt
code 0 gen shale
says "nothing was changed"
code 0 check
step "init, gen, gen again, check: $(find vault keyring -type f | wc -l) files"

identity=$(find "$WINEPREFIX" -name identity.txt)
secret=$(wgkeys show --secret shale)
[ ${#secret} = 44 ] || fail "show --secret"
[ "$secret" = "$(../wgkeys show -i "$identity" --secret shale 2>/dev/null | cat)" ] || fail "another key on Linux"
[ "$(wgkeys show shale)" = "$(../wgkeys show shale)" ] || fail "another view on Linux"
[ "$(wgkeys check --json)" = "$(../wgkeys check --json)" ] || fail "other findings on Linux"
step "show, show --secret, check --json: the same as by wgkeys on Linux in that folder"
wgkeys export basalt >../basalt.conf
grep -q '^PrivateKey = .*\|PostUp = wg set' ../basalt.conf || fail "export"
[ "$(cat ../basalt.conf)" = "$(../wgkeys export basalt)" ] || fail "another export on Linux"
code 0 export --secret -o ../secret.conf basalt
# wine, which keeps a list as a mode, gives a group what its member has.
[ "$(stat -c %A ../secret.conf | cut -c 8-)" = --- ] || fail "others may read the file of export --secret: $(stat -c %A ../secret.conf)"
[ "$(stat -c %A "$identity" | cut -c 8-)" = --- ] || fail "others may read the identity: $(stat -c %A "$identity")"
step "export as on Linux; a secret file and the identity are for their owner alone"

../wgkeys init ../other >/dev/null 2>&1
grep '^age1' ../other/vault/recipients.txt >>vault/recipients.txt
code 4 check
code 0 rekey
code 0 check
[ -z "$(find . -name '.*' -type f ! -name .gitattributes)" ] || fail "temporary files are left"
step "rekey to one recipient more, check"

sed -i 's/$/\r/' wgkeys.toml tunnels/wg0.toml vault/recipients.txt keyring/*/*.pub
code 0 check
[ "$(wgkeys show shale)" = "$(../wgkeys show shale)" ] || fail "another view of CRLF"
code 0 rekey
says "nothing to do"
step "the same with CRLF at the ends of all lines"

for verb in "apply --host shale" "down --host shale" install uninstall demo "import --take-over --host shale"; do
	code 1 $verb
	says "it runs on Linux"
	says "hint:"
done
code 1 push shale
code 1 apply shale
says "there is no such program"
step "what a host does itself refuses, with a hint"
END
unshare --mount --pid --fork --kill-child --net --ipc sh -ec '
	mount --make-rprivate /
	mount -t proc proc "$1/proc"
	exec chroot "$1" /usr/bin/env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root bash /root/work/run' sh "$root"

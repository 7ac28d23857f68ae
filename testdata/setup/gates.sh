#!/bin/bash
# What has to be true of all code before a test is run: make gates. The tools are
# built once, at the versions below, into .lab/bin.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
code="cmd deploy keyring vault testdata"
failed=0

# gate NAME PROGRAM...: what the program prints is what is wrong, but for the modules that
# go(1) fetches on a new machine.
gate() {
	local name=$1 said status=0
	shift
	said=$("$@" 2>&1) || status=$?
	said=$(grep -v '^go: downloading ' <<<"$said" || true)
	if [ $status != 0 ] || [ -n "$said" ]; then
		printf '%s:\n%s\n' "$name" "$said"
		failed=1
	fi
}

tool() { # tool PATH VERSION: the path of the program
	local program=.lab/bin/${1##*/}-$2
	if [ ! -x "$program" ]; then
		GOBIN=$PWD/.lab/bin/$2 go install "$1@$2" >&2
		mv ".lab/bin/$2/${1##*/}" "$program"
	fi
	echo "$program"
}

# Lines of more than 120 characters, of which a tab is one. A long string stays whole, so
# that it can be found, and so do the lines of a raw string, which are another's text.
columns() {
	find $code -name '*.go' | xargs perl -CSD -ne '
		my $begins = $raw;
		$raw ^= tr/`// & 1;
		print "$ARGV:$.: " . substr($_, 0, 100) . "\n"
			if /^.{121,}$/ && !$begins && !$raw && !/"(?:[^"\\]|\\.){60,}"|`[^`]{60,}`/;
		if (eof) { close ARGV; $raw = 0 }'
}

# The database of vulnerabilities is not everywhere to be reached.
vulnerabilities() {
	local said
	if said=$("$vuln" ./... 2>&1); then
		return
	fi
	case $said in
	*"fetching vulnerabilities"*)
		echo "gates: govulncheck is skipped: its database cannot be reached; the modules are verified" >&3
		go mod verify >/dev/null
		;;
	*)
		echo "$said"
		return 1
		;;
	esac
}

# What an administrator's machine may run besides Linux. go vet has no way to leave the tests
# out, which need Linux, but for a list of files; and only the packages with files of their own
# for a system are different from what is vetted anyway.
systems="darwin windows"
other_systems() {
	local system package files
	for system in $systems; do
		GOOS=$system go build -o /dev/null ./cmd/wgkeys || return
		GOOS=$system go list -deps -f '{{if and .Module .Module.Main .IgnoredGoFiles}}{{$d := .Dir}}{{range .GoFiles}} {{$d}}/{{.}}{{end}}{{end}}' ./cmd/wgkeys |
			grep . | while read -r files; do GOOS=$system go vet $files || return; done
	done
}

exec 3>&2
cyclo=$(tool github.com/fzipp/gocyclo/cmd/gocyclo v0.6.0)
static=$(tool honnef.co/go/tools/cmd/staticcheck v0.8.2)
vuln=$(tool golang.org/x/vuln/cmd/govulncheck v1.9.0)
gate gofmt gofmt -l $code
gate "go mod tidy" go mod tidy -diff
gate "complexity, more than 15 ways through a function" "$cyclo" -over 15 $code
gate columns columns
gate "go vet" go vet -tags managers ./... ./testdata/vm
gate "other systems: $systems" other_systems
gate staticcheck "$static" ./... ./testdata/vm
gate govulncheck vulnerabilities
[ $failed = 0 ] && echo "gates: passed"
exit $failed

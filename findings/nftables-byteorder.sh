#!/bin/sh
# github.com/google/nftables v0.3.0 leaves out of a rule that it reads the step "byteorder",
# without an error. nft(8) puts one into each rule that looks at a range, or at more or less,
# of a number in the host's order of bytes: marks, lengths, hours. Such a rule that is read by
# GetRules and added again, as to move it, to copy it or to replace it with another comment, is
# taken by the kernel, and matches other packets. A rule with one mark stays as it is.
# The library writes the step (expr/byteorder.go) and has no name for it when it reads
# (exprFromName in expr/expr.go).
#
# Guess before it was run: what GetRules returns and AddRule takes is the same rule.
# Seen with v0.3.0, nftables 1.0.6 (Debian 12), Linux 6.18, little-endian:
#
#	meta mark 0x00000007 accept: meta mark 0x00000007 accept
#	meta mark 0x00000001-0x00000007 accept: meta mark 0x01000000-0x07000000 accept
#	meta length > 1280 accept: meta length > 327680 accept
#
# Needs go, nft and unshare; no root where user namespaces may be made. It fails where one of
# them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOFLAGS="-mod=mod -modcacherw" HOME="${HOME:-$dir}"
cat >main.go <<'END'
package main

import "github.com/google/nftables"

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	conn, err := nftables.New()
	must(err)
	table := &nftables.Table{Name: "example", Family: nftables.TableFamilyINet}
	rules, err := conn.GetRules(table, &nftables.Chain{Name: "before", Table: table})
	must(err)
	for _, rule := range rules {
		after := &nftables.Chain{Name: "after", Table: table}
		conn.AddRule(&nftables.Rule{Table: table, Chain: after, Exprs: rule.Exprs})
	}
	must(conn.Flush())
}
END
go mod init example >/dev/null 2>&1
go get github.com/google/nftables@v0.3.0 >/dev/null 2>&1
go build -o again .
go list -m github.com/google/nftables
nft --version
cat >ruleset <<'END'
table inet example {
	chain before {
		meta mark 0x7 accept
		meta mark 0x1-0x7 accept
		meta length > 1280 accept
	}
	chain after { }
}
END
cat >inside <<'END'
nft -f ruleset
./again
for chain in before after; do nft list chain inet example $chain | sed -n 's/^\t\t//p' >$chain; done
END
unshare --user --map-root-user --net sh -eu inside
paste -d : before after | sed 's/:/: /' | tee seen
cat >expected <<'END'
meta mark 0x00000007 accept: meta mark 0x00000007 accept
meta mark 0x00000001-0x00000007 accept: meta mark 0x01000000-0x07000000 accept
meta length > 1280 accept: meta length > 327680 accept
END
cmp seen expected

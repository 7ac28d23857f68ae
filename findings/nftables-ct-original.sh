#!/bin/sh
# github.com/google/nftables v0.3.0 cannot read back a table in which one rule looks at
# the original direction of a connection (`ct original ip saddr`, as nft(8) adds it):
# GetRules returns an error for the whole chain, and none of its rules. The library
# takes every attribute of a ct expression for 4 bytes, and the kernel sends
# NFTA_CT_DIRECTION as one (nft_ct_get_dump in net/netfilter/nft_ct.c). So a program
# that looks for a rule of its own finds none beside such a rule of somebody else's.
# Needs go, nft and unshare; no root where user namespaces may be made.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOFLAGS="-mod=mod -modcacherw" HOME="${HOME:-$dir}"
cat >main.go <<'END'
package main

import (
	"fmt"

	"github.com/google/nftables"
)

func main() {
	conn, err := nftables.New()
	if err != nil {
		panic(err)
	}
	table := &nftables.Table{Name: "example", Family: nftables.TableFamilyINet}
	for _, name := range []string{"plain", "original"} {
		rules, err := conn.GetRules(table, &nftables.Chain{Name: name, Table: table})
		fmt.Printf("chain %s: %d rules, error: %v\n", name, len(rules), err)
	}
}
END
go mod init example >/dev/null 2>&1
go get github.com/google/nftables@v0.3.0 >/dev/null 2>&1
go build -o rules .
go list -m github.com/google/nftables
nft --version
uname -sr
cat >ruleset <<'END'
table inet example {
	chain plain { ip saddr 192.0.2.1 counter; ct state new counter; }
	chain original { ip saddr 192.0.2.1 counter; ct original ip saddr 192.0.2.1 counter; }
}
END
unshare --user --map-root-user --net sh -euc 'nft -f ruleset; ./rules' >said
cat said
grep -q '^chain plain: 2 rules, error: <nil>$' said && grep -q '^chain original: 0 rules, error: ..*uint32' said || {
	echo "another answer than before" >&2
	exit 1
}

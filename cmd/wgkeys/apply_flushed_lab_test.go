package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// TestLabApplyFlushed: Debian's /etc/nftables.conf begins with "flush ruleset", which takes the
// tunnel's table as well. It comes back by itself as it was, and nothing comes back after a down.
func TestLabApplyFlushed(t *testing.T) {
	u := labtest.FirstUsers(t)
	before := u.Snapshot(u.Shale)
	u.Tunnel(strings.Replace(fullTunnel, "forward   = true\n", "forward   = true\nmasquerade = true\nisolate = true\n", 1))
	u.Clone()
	const table = "nft list table inet wgkeys-wg0"
	for host, at := range map[string]*lab.Host{"shale": u.Shale, "basalt": u.Basalt} {
		u.Must(at, "wgkeys apply")
		was := u.Must(at, table)
		for range 2 {
			u.Must(at, "nft flush ruleset")
			u.Until("the table of "+host+" to come back", func() bool { return u.Run(at, table).Code == 0 })
			if now := u.Must(at, table); now != was {
				t.Errorf("the table of %s was\n%s\nand is\n%s", host, was, now)
			}
		}
		if r := u.Run(at, "wgkeys plan"); r.Code != 0 || r.Stdout != "" {
			t.Errorf("%s: an apply has something to do:\n%s", host, r.Stdout)
		}
	}
	// After an upgrade it is done by the new program.
	const program = "readlink /proc/$(pgrep -f '^wgkeys-names')/exe"
	now := u.Must(u.Shale, program)
	u.Must(u.Shale, "wgkeys down && mkdir /run/older && cp -L $(command -v wgkeys) /run/older && /run/older/wgkeys apply")
	if older := u.Must(u.Shale, program); older != "/run/older/wgkeys\n" {
		t.Errorf("an apply of /run/older/wgkeys starts %s", older)
	}
	u.Must(u.Shale, "wgkeys apply")
	u.Until("another program to follow", func() bool { return u.Must(u.Shale, program) == now })

	u.Must(u.Shale, "nft flush ruleset; wgkeys down; rm -r /run/older")
	u.Until("the process to end", func() bool { return u.Run(u.Shale, "pgrep -f '^wgkeys-names'").Code != 0 })
	u.Same(u.Shale, before, "after down")
}

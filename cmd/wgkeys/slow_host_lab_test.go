package main

import (
	"fmt"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
)

// stands is a wgkeys that stands still when it is to change something, if /root/stand is there.
const stands = `#!/bin/bash
[[ $1 = apply || $1 = down || $1 = uninstall ]] && mv /root/stand /root/stopped 2>/dev/null && kill -STOP $$
exec -a wgkeys "$0.real" "$@"
`

// What a host does late surprises nobody: its wgkeys stands still when it has been started,
// until the controller has given it up and a second command has run, and then goes on. The
// host is as the second command left it.
func TestLabSlowHost(t *testing.T) {
	t.Parallel() // it waits most of the time
	u := labtest.NewUsers(t)
	keepalive := 10
	use := func() {
		keepalive++
		u.Tunnel(strings.Replace(demo.FirstTunnel, "[hosts.basalt]",
			fmt.Sprintf("[hosts.shale.peer.basalt]\nkeepalive = %d\n[hosts.basalt]", keepalive), 1))
	}
	use()
	u.Must(u.Basalt, "wgkeys apply -q shale")
	wgkeys := strings.TrimSpace(u.Must(u.Shale, "command -v wgkeys"))
	u.Must(u.Shale, "mv "+wgkeys+" "+wgkeys+".real")
	u.Write(u.Shale, wgkeys, stands)
	u.Must(u.Shale, "chmod 755 "+wgkeys)
	for _, first := range []string{
		"wgkeys apply shale --timeout 2s --confirm 2s",
		"wgkeys apply shale --timeout 2s --confirm 0",
		"wgkeys apply shale --timeout 2s --confirm 0 -q",
		"wgkeys down shale --timeout 2s",
		"wgkeys uninstall -y shale --timeout 2s",
	} {
		u.Must(u.Shale, "rm -f /root/stopped && touch /root/stand")
		use()
		if r := u.Run(u.Basalt, first); r.Code == 0 {
			t.Errorf("%s, of a host that stands still: exit 0\n%s", first, r.Stderr)
		}
		u.Must(u.Shale, "test -e /root/stopped")
		use()
		u.Must(u.Basalt, "wgkeys apply shale")
		u.Must(u.Shale, "pkill -CONT -f 'w[g]keys (apply --view|down -t|uninstall -y)'")
		u.Until("all to end", func() bool {
			return u.Run(u.Shale, "pgrep -f 'w[g]keys (apply|down|uninstall)|w[g]keys-guard'").Code != 0
		})
		if r := u.Run(u.Basalt, "wgkeys plan shale"); r.Code != 0 || r.Stdout != "" {
			t.Errorf("%s: shale is not as the next apply left it:\n%s%s", first, r.Stdout, r.Stderr)
		}
	}
}

package main

import (
	"fmt"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
)

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
	for _, first := range []string{
		"wgkeys apply shale --timeout 2s --confirm 2s",
		"wgkeys apply shale --timeout 2s --confirm 0",
		"wgkeys apply shale --timeout 2s --confirm 0 -q",
	} {
		// As soon as it is there, which is before it has the lock or after it.
		u.Must(u.Shale, `rm -f /root/stopped; (until pkill -STOP -f '^wgkeys apply --view'; do :; done
			touch /root/stopped) >/dev/null 2>&1 &`)
		use()
		if r := u.Run(u.Basalt, first); r.Code == 0 {
			t.Errorf("%s, of a host that stands still: exit 0\n%s", first, r.Stderr)
		}
		u.Until("it to stand still", func() bool { return u.Run(u.Shale, "test -e /root/stopped").Code == 0 })
		use()
		u.Until("the next apply to go on", func() bool { // where the first one has the lock it waits
			u.Run(u.Shale, "(sleep 2; pkill -CONT -f '^wgkeys apply --view') >/dev/null 2>&1 &")
			return u.Run(u.Basalt, "wgkeys apply shale").Code == 0
		})
		u.Must(u.Shale, "pkill -CONT -f '^wgkeys apply --view' || true")
		u.Until("all to end", func() bool { return u.Run(u.Shale, "pgrep -f '^wgkeys apply|^wgkeys-guard'").Code != 0 })
		if r := u.Run(u.Basalt, "wgkeys plan shale"); r.Code != 0 || r.Stdout != "" {
			t.Errorf("%s: shale is not as the next apply left it:\n%s%s", first, r.Stdout, r.Stderr)
		}
	}
}

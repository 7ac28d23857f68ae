package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/ui"
)

// TestLabStatusRestoredHost: basalt is restored from a snapshot of before a rotation. Status
// shows what it knows, and it and rotate lead to the key of today, and nowhere else.
func TestLabStatusRestoredHost(t *testing.T) {
	t.Parallel()
	u := newUsers(t)
	u.tunnel(demo.FirstTunnel + "keepalive = 1\n")
	const commit = "git add -A && git -c user.name=a -c user.email=a@example.net commit -q -m keys"
	u.must(u.Basalt, "git init -q && "+commit+" && wgkeys apply --quiet shale && wgkeys apply --quiet && ping -6 -n -c 1 -w 10 "+demo.Internet)
	old := u.pub("basalt")
	u.must(u.Basalt, "cp -a /etc/wireguard/wg0.key /root/old.key && cp /etc/wgkeys/wg0.view /root/old.view && wgkeys rotate -y basalt && "+commit)
	u.must(u.Basalt, "wgkeys down --quiet && cp -a /root/old.key /etc/wireguard/wg0.key && rm /etc/wgkeys/revoked && wgkeys apply --quiet --view /root/old.view")

	r := u.run(u.Basalt, "wgkeys status")
	for _, want := range []string{
		"! an older key in its file than in the repository: wgkeys push basalt\n",
		"shale does not take the older key that basalt uses: wgkeys push basalt, then wgkeys apply basalt\n",
		"  shale  no handshake yet",
	} {
		if r.code != ui.ExitFindings || !strings.Contains(r.stdout, want) {
			t.Errorf("status exits %d, want %q:\n%s%s", r.code, want, r.stdout, r.stderr)
		}
	}
	if strings.Contains(r.stdout, "git pull, or") || strings.Contains(r.stdout, "wgkeys apply shale") {
		t.Errorf("status leads elsewhere:\n%s", r.stdout)
	}
	rotate := u.run(u.Basalt, "wgkeys rotate -y basalt")
	if rotate.code != ui.ExitFailed || !strings.Contains(rotate.stderr, "it is "+old+", as after a restore") ||
		!strings.Contains(rotate.stderr, "hint: wgkeys push basalt, then wgkeys apply basalt, then wgkeys rotate basalt") {
		t.Errorf("rotate exits %d:\n%s", rotate.code, rotate.stderr)
	}
	u.must(u.Basalt, "wgkeys push basalt && wgkeys apply --quiet basalt && ping -6 -n -c 1 -w 10 "+demo.Internet)
	u.must(u.Basalt, "wgkeys rotate -y basalt")
	if r := u.run(u.Basalt, "wgkeys status"); r.code != ui.ExitDone {
		t.Errorf("then status exits %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
	u.must(u.Basalt, "wgkeys down --quiet && wgkeys down --quiet shale")
}

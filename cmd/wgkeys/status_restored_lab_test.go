package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestLabStatusRestoredHost: basalt is restored from a snapshot of before a rotation. Status
// shows what it knows, and it and rotate lead to the key of today, and nowhere else.
func TestLabStatusRestoredHost(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Tunnel(demo.FirstTunnel + "keepalive = 1\n")
	const commit = "git add -A && git -c user.name=a -c user.email=a@example.net commit -q -m keys"
	u.Must(u.Basalt, "git init -q && "+commit+" && wgkeys apply --quiet shale && wgkeys apply --quiet && ping -6 -n -c 1 -w 10 "+demo.Internet)
	old := publicKeyOf(u, "basalt")
	u.Must(u.Basalt, "cp -a /etc/wireguard/wg0.key /root/old.key && cp /etc/wgkeys/wg0.view /root/old.view && wgkeys rotate -y basalt && "+commit)
	u.Must(u.Basalt, "wgkeys down --quiet && cp -a /root/old.key /etc/wireguard/wg0.key && rm /etc/wgkeys/revoked && wgkeys apply --quiet --view /root/old.view")

	r := u.Run(u.Basalt, "wgkeys status -v")
	for _, want := range []string{
		"! an older key in its file than in the repository: wgkeys push basalt\n",
		"shale does not take the older key that basalt uses: wgkeys push basalt, then wgkeys apply basalt\n",
		"  shale  no handshake yet",
	} {
		if r.Code != ui.ExitFindings || !strings.Contains(r.Stdout, want) {
			t.Errorf("status exits %d, want %q:\n%s%s", r.Code, want, r.Stdout, r.Stderr)
		}
	}
	if strings.Contains(r.Stdout, "git pull, or") || strings.Contains(r.Stdout, "wgkeys apply shale") {
		t.Errorf("status leads elsewhere:\n%s", r.Stdout)
	}
	rotate := u.Run(u.Basalt, "wgkeys rotate -y basalt")
	if rotate.Code != ui.ExitFailed || !strings.Contains(rotate.Stderr, "it is "+old+", as after a restore") ||
		!strings.Contains(rotate.Stderr, "hint: wgkeys push basalt, then wgkeys apply basalt, then wgkeys rotate basalt") {
		t.Errorf("rotate exits %d:\n%s", rotate.Code, rotate.Stderr)
	}
	u.Must(u.Basalt, "wgkeys push basalt && wgkeys apply --quiet basalt && ping -6 -n -c 1 -w 10 "+demo.Internet)
	u.Must(u.Basalt, "wgkeys rotate -y basalt")
	if r := u.Run(u.Basalt, "wgkeys status"); r.Code != ui.ExitDone {
		t.Errorf("then status exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys down --quiet && wgkeys down --quiet shale")
}

package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

const (
	readOnlyEtc  = "umount /etc/wgkeys; mount -o remount,bind,ro /etc; ! touch /etc/x 2>/dev/null"
	writableEtc  = "mount -o remount,bind,rw /etc"
	afterAReboot = "ip link del wg0; rm -rf /run/wgkeys/*.journal; "
)

// A host whose /etc is read-only keeps its view elsewhere: the tunnel that apply
// brought up over ssh is confirmed, and comes back at boot.
func TestLabApplyReadOnlyEtc(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Shale, readOnlyEtc)
	r := u.Run(u.Basalt, "wgkeys apply shale")
	if want := `warning: for the next boot the view is not in /etc/wgkeys but in "/var/lib/wgkeys/wg0.view"`; r.Code != ui.ExitDone || !strings.Contains(r.Stderr, want) {
		t.Errorf("apply exits %d and says\n%swant %q", r.Code, r.Stderr, want)
	}
	u.Must(u.Shale, "! test -e /run/wgkeys/wg0.pending") // else it would be undone
	u.Must(u.Shale, afterAReboot+"wgkeys apply --kept && ip link show wg0")
	if out := u.Must(u.Shale,
		"mkdir -p /run/systemd/system; wgkeys install -n; rmdir /run/systemd/system"); !strings.Contains(out,
		"systemctl enable wgkeys@wg0.service") {
		t.Errorf("install would do\n%s", out)
	}

	u.Must(u.Shale, writableEtc)
	u.Tunnel(strings.Replace(demo.FirstTunnel, "[hosts.basalt]", "mtu       = 1400\n\n[hosts.basalt]", 1))
	u.Must(u.Basalt, "wgkeys apply shale")
	u.Must(u.Shale, "grep -q 1400 /etc/wgkeys/wg0.view && ! test -e /var/lib/wgkeys/wg0.view")

	// Nothing but /run can be written: the tunnel stays, and what to go back to is known.
	u.Must(u.Shale, "mount -o remount,bind,ro /etc && mount -o remount,bind,ro /var")
	u.Tunnel(demo.FirstTunnel)
	r = u.Run(u.Basalt, "wgkeys apply shale")
	if want := "warning: the tunnel is up, but at boot it will come up as before this apply:"; r.Code != ui.ExitDone ||
		!strings.Contains(r.Stderr, want) {
		t.Errorf("apply exits %d and says\n%swant %q", r.Code, r.Stderr, want)
	}
	u.Must(u.Shale, "ip link show wg0 && ! grep -q 1400 /run/wgkeys/wg0.view && wgkeys apply --kept && ip link show wg0 | grep -q 1420")

	// And without an older view.
	u.Must(u.Shale, writableEtc+" && rm /etc/wgkeys/wg0.view /run/wgkeys/wg0.view && mount -o remount,bind,ro /etc")
	r = u.Run(u.Basalt, "wgkeys apply shale")
	if want := "warning: the tunnel is up, but will not come up at boot:"; !strings.Contains(r.Stderr, want) {
		t.Errorf("apply exits %d and says\n%swant %q", r.Code, r.Stderr, want)
	}
}

// A view that was kept before its sysctls were refused still comes up at boot, with a
// warning, and another one can be applied over it.
func TestLabApplyKeptWeakening(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "wgkeys apply shale")
	const weakens = `"net.ipv4.conf.wg0.accept_source_route": "1"`
	u.Must(u.Shale, `sed -i 's/^{/{ "sysctls": {`+strings.ReplaceAll(weakens, `"`,
		`\"`)+`},/' /etc/wgkeys/wg0.view && cat /etc/wgkeys/wg0.view`)
	r := u.Run(u.Shale, afterAReboot+"wgkeys apply --kept")
	if want := "net.ipv4.conf.wg0.accept_source_route = 1"; r.Code != ui.ExitDone || !strings.Contains(r.Stderr, want) {
		t.Errorf("apply --kept exits %d and says\n%swant %q", r.Code, r.Stderr, want)
	}
	u.Must(u.Shale, "ip link show wg0 && wgkeys install -n")
	u.Must(u.Basalt, "wgkeys apply shale")
	u.Must(u.Shale, "! grep accept_source_route /etc/wgkeys/wg0.view")
}

package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestLabApplyKeptUnreadable: shale has a view for its next boot that it cannot read, as a newer
// wgkeys or a full disk leaves one. That is reported before the boot, nothing is changed halfway, and
// what is printed mends it.
func TestLabApplyKeptUnreadable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, damage, why string }{
		{"newer", `sed -i 's/"tunnel"/"color": "red", "tunnel"/' /etc/wgkeys/wg0.view`,
			`its key "color" is unknown here: a newer wgkeys has written it`},
		{"damaged", "truncate -s 100 /etc/wgkeys/wg0.view", "it is damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u := labtest.NewUsers(t)
			u.Must(u.Basalt, "wgkeys push --all basalt && wgkeys apply -q && wgkeys apply -q shale && ping -6 -n -c 1 -w 10 "+demo.Internet)
			u.Must(u.Shale, c.damage)
			why := `cannot read the kept view "/etc/wgkeys/wg0.view": ` + c.why
			unreadable(u, why)
			u.Must(u.Basalt, "wgkeys apply --confirm 0 shale")
			u.Must(u.Basalt, "wgkeys rotate -y shale && wgkeys rotate -y basalt && wgkeys apply -q && wgkeys apply -q shale")
			u.Must(u.Basalt, "wgkeys plan shale && wgkeys status -v shale")

			u.Must(u.Shale, c.damage)
			stolen := publicKeyOf(u, "basalt")
			u.Must(u.Basalt, "wgkeys rotate -q -y --now basalt")
			if peers := u.Must(u.Shale, "wg show wg0 peers"); strings.Contains(peers, stolen) {
				t.Errorf("the stolen key was %s; peers of shale: %s", stolen, peers)
			}
		})
	}
}

// unreadable runs all that uses the view for the next boot.
func unreadable(u *labtest.Users, why string) {
	u.Helper()
	refused := func(command, want, hint string) {
		u.Helper()
		r := u.Run(u.Basalt, command)
		if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, want) || !strings.Contains(r.Stderr, hint) {
			u.Errorf("%s exits %d: %s%s", command, r.Code, r.Stdout, r.Stderr)
		}
	}
	atBoot := "the tunnel will not come up at boot: " + why + "; an apply writes it again"
	r := u.Run(u.Basalt, "wgkeys plan shale")
	if !strings.Contains(r.Stderr, "finding: "+atBoot) {
		u.Errorf("plan exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	r = u.Run(u.Basalt, "wgkeys status shale")
	if r.Code != ui.ExitFindings || !strings.Contains(r.Stdout, "! "+atBoot) {
		u.Errorf("status exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	r = u.Run(u.Shale, "wgkeys apply --kept")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "error: "+why) ||
		!strings.Contains(r.Stderr, "hint: wgkeys apply --confirm 0 -t wg0") {
		u.Errorf("apply --kept exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	before := u.Must(u.Shale, "wg show wg0 dump | cut -f 1-4")
	for _, host := range []string{"basalt", "shale"} {
		refused("wgkeys rotate -y "+host, why, "wgkeys apply --confirm 0 shale")
	}
	u.Tunnel("keepalive = 23\n" + demo.FirstTunnel)
	defer u.Tunnel(demo.FirstTunnel)
	refused("wgkeys apply shale", `nothing to go back to for tunnel "wg0": `+why,
		"hint: wgkeys apply --confirm 0 shale")
	if now := u.Must(u.Shale, "wg show wg0 dump | cut -f 1-4"); now != before {
		u.Errorf("the device has changed from\n%sto\n%s", before, now)
	}
}

// TestLabApplyNotEnabled: shale has the units of systemd, as of another tunnel or of a package. A
// tunnel that they do not bring up is reported once: when it is new, and when it needs more.
func TestLabApplyNotEnabled(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	const warning = `wgkeys: warning: the tunnel is up, but systemd will not bring up all of it at boot: "wg0": not enabled: `
	apply := func(host, want string) {
		u.Helper()
		r := u.Run(u.Basalt, "wgkeys apply -q "+host)
		_, after, _ := strings.Cut(r.Stderr, warning)
		if units, _, _ := strings.Cut(after, "\n"); r.Code != ui.ExitDone || units != want ||
			want != "" && !strings.Contains(r.Stderr, "hint: "+strings.TrimSpace("wgkeys install "+host)+"\n") {
			u.Errorf("apply %s exits %d: %s%s", host, r.Code, r.Stdout, r.Stderr)
		}
	}
	u.Must(u.Basalt, "wgkeys push -q --all basalt")
	u.Must(u.Shale, "mkdir -p /run/systemd/system /etc/systemd/system/multi-user.target.wants")
	apply("shale", "") // nobody wants tunnels at boot there
	u.Must(u.Basalt, "wgkeys down -q shale")
	u.Must(u.Shale, "rm /etc/wgkeys/wg0.view && touch /etc/systemd/system/wgkeys@.service")
	apply("shale", "wgkeys@wg0.service")
	u.Tunnel("keepalive = 23\n" + demo.FirstTunnel)
	apply("shale", "")
	u.Must(u.Basalt, "wgkeys down -q shale")
	u.Must(u.Shale, "rm /etc/wgkeys/wg0.view && ln -s ../wgkeys@.service /etc/systemd/system/multi-user.target.wants/wgkeys@wg0.service")
	apply("shale", "")

	u.Must(u.Basalt, "mkdir -p /run/systemd/system /etc/systemd/system/multi-user.target.wants")
	u.Must(u.Basalt, "cd /etc/systemd/system && touch wgkeys@.service && ln -s ../wgkeys@.service multi-user.target.wants/wgkeys@wg0.service")
	apply("", "")
	u.Must(u.Basalt, "echo '"+demo.ShaleAddr+" shale.example' >> /etc/hosts")
	u.Tunnel(strings.Replace(demo.FirstTunnel, `"93.93.130.7" `, `"shale.example" `, 1))
	apply("", "wgkeys-names@wg0.service")
}

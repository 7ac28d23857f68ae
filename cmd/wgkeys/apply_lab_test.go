package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// The first users' whole tunnel is ten lines for both ends. What the plan says,
// what wg(8) and ip(8) say, and what packets do, agree.
func TestLabApplyFirstTunnel(t *testing.T) {
	u := labtest.FirstUsers(t)
	public := func(host string) string {
		return strings.TrimSpace(u.Read(u.Basalt, "/root/net/keyring/"+host+"/wg0.pub"))
	}
	t.Run("plan", func(t *testing.T) { testPlans(u.With(t)) })

	u.Must(u.Shale, "wgkeys apply")
	u.Must(u.Basalt, "wgkeys apply")
	u.Want("shale's device",
		u.Must(u.Shale, "wg show wg0 public-key; wg show wg0 listen-port; wg show wg0 allowed-ips; wg show wg0 endpoints"),
		public("shale"), "30567", public("basalt")+" 2001:db8:7767::2/128", public("basalt")+" (none)")
	u.Want("basalt's device",
		u.Must(u.Basalt, "wg show wg0 public-key; wg show wg0 listen-port; wg show wg0 allowed-ips; wg show wg0 endpoints"),
		public("basalt"), "30567", public("shale")+" ::/0", public("shale")+" 93.93.130.7:30567")
	u.Want("shale's routes", u.Must(u.Shale, "ip -6 route show dev wg0"),
		"2001:db8:7767::2 proto static metric 1024 pref medium")
	u.Want("basalt's routes", u.Must(u.Basalt, "ip -6 route show default table 51820 dev wg0"),
		"default proto static metric 1024 pref medium")
	if out := u.Must(u.Shale, "ip -oneline address show dev wg0"); out != "" {
		t.Errorf("shale has an address INSIDE: %s", out)
	}
	if out := u.Must(u.Basalt, "ip -6 -oneline address show dev wg0"); !strings.Contains(out,
		"inet6 2001:db8:7767::2/128 scope global") ||
		strings.Count(out, "\n") != 1 {
		t.Errorf("basalt's addresses on wg0: %s", out)
	}
	t.Run("device", func(t *testing.T) { testDevice(u.With(t)) })
	t.Run("ping", func(t *testing.T) { testPings(u.With(t)) })
}

// testPlans compares the plans with the tunnel file, before either is applied.
func testPlans(u *labtest.Users) {
	shale, basalt := u.Run(u.Shale, "wgkeys plan"), u.Run(u.Basalt, "wgkeys plan")
	if shale.Code != ui.ExitFindings || basalt.Code != ui.ExitFindings {
		u.Errorf("plans with steps exit %d and %d, want %d", shale.Code, basalt.Code, ui.ExitFindings)
	}
	ra := strings.Index(shale.Stdout, "sysctl -w net.ipv6.conf.eth0.accept_ra=2 ")
	forwarding := strings.Index(shale.Stdout, "sysctl -w "+forwardingOf(u)+"=1 ")
	if forwarding < 0 || forcesForwarding(u) != (ra < 0) || ra > forwarding {
		u.Errorf("accept_ra=2 is not before forwarding=1:\n%s", shale.Stdout)
	}
	for _, want := range []string{"listen-port 30567", "ip -6 route add 2001:db8:7767::2/128 dev wg0 "} {
		if !strings.Contains(shale.Stdout, want) {
			u.Errorf("shale's plan lacks %q:\n%s", want, shale.Stdout)
		}
	}
	for _, no := range []string{"address add", "endpoint", "proxy"} {
		if strings.Contains(shale.Stdout, no) {
			u.Errorf("shale's plan has %q:\n%s", no, shale.Stdout)
		}
	}
	for _, want := range []string{"endpoint 93.93.130.7:30567 ", "allowed-ips +::/0 ",
		"ip -6 address add 2001:db8:7767::2/128 dev wg0 ", "ip -6 route add ::/0 dev wg0 "} {
		if !strings.Contains(basalt.Stdout, want) {
			u.Errorf("basalt's plan lacks %q:\n%s", want, basalt.Stdout)
		}
	}
	// The kill switch has one, without which nobody could log in behind it.
	if others := strings.ReplaceAll(basalt.Stdout, "sysctl -w net.ipv4.tcp_fwmark_accept=1 ", ""); strings.Contains(others,
		"sysctl") {
		u.Errorf("basalt's plan sets a kernel parameter:\n%s", basalt.Stdout)
	}
}

// testDevice sees that each laboratory tests the device that it is there for.
func testDevice(u *labtest.Users) {
	kind := map[string]string{"netns": "tun type tun", "vm": "wireguard"}[lab.Kernel()]
	for _, h := range []*lab.Host{u.Basalt, u.Shale} {
		if out := u.Must(h, "ip -details link show dev wg0"); !strings.Contains(out, kind) {
			u.Errorf("%s's wg0 is no %s device: %s", h.Name(), kind, out)
		}
	}
}

// testPings begins with basalt, which alone knows an endpoint.
func testPings(u *labtest.Users) {
	u.Must(u.Basalt, "ping -6 -n -c 3 -i 0.2 -w 10 "+demo.Internet)
	u.Must(u.Shale, "ping -6 -n -c 3 -i 0.2 -w 10 2001:db8:7767::2")
	u.Must(u.Router, "ping -6 -n -c 3 -i 0.2 -w 10 -I "+demo.Internet+" 2001:db8:7767::2")
	if out := u.Must(u.Shale, "wg show wg0 endpoints"); !strings.Contains(out, "\t192.0.2.10:30567\n") {
		u.Errorf("shale has not learned basalt's endpoint: %s", out)
	}
}

// apply, plan, show and down decrypt nothing: no vault, no identity and no
// home are needed, and not one environment variable.
func TestLabApplyNoIdentity(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Must(u.Basalt, "mkdir /root/away && mv vault /root/.config /root/away")
	defer func() { u.Must(u.Basalt, "mv /root/away/vault . && mv /root/away/.config /root && rm -d /root/away") }()
	before := u.Snapshot(u.Basalt)
	for _, environment := range []string{"", "HOME=/nonexistent",
		"HOME=/nonexistent XDG_CONFIG_HOME=relative WGKEYS_IDENTITY=/nonexistent/file"} {
		wgkeys := "env -i " + environment + " /usr/local/bin/wgkeys -C /root/net "
		u.Must(u.Basalt, "cd / && "+wgkeys+"show >/dev/null && "+wgkeys+"apply && "+wgkeys+"plan && ip link show wg0")
		u.Must(u.Basalt, "cd / && "+wgkeys+"down")
		u.Same(u.Basalt, before, "after down with the environment "+environment)
	}
}

// Nobody reads what apply and down say: they end what they have begun all the same.
func TestLabApplyUnread(t *testing.T) {
	u := labtest.FirstUsers(t)
	before := u.Snapshot(u.Shale)
	u.Must(u.Shale, "wgkeys apply 2>&1 | true; wgkeys plan")
	u.Must(u.Shale, "wgkeys apply 2>&1 | true; wgkeys down 2>&1 | true")
	u.Same(u.Shale, before, "after an apply and a down that nobody read")
}

// The snapshot that the other tests compare sees all of a tunnel: else there
// would be nothing to compare.
func TestLabSnapshotSees(t *testing.T) {
	u := labtest.FirstUsers(t)
	before := u.Snapshot(u.Shale)
	u.Must(u.Shale, "wgkeys apply")
	diff := demo.LineDiff(before, u.Snapshot(u.Shale))
	for _, want := range []string{"+ 2001:db8:7767::2 dev wg0", "+ " + forwardingOf(u) + " = 1\n", "- " + forwardingOf(u) +
		" = 0\n",
		": wg0: <", "+ /run/wgkeys/wg0.journal\n"} {
		if !strings.Contains(diff, want) {
			t.Errorf("no %q in the difference:\n%s", want, diff)
		}
	}
}

package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// defaultRouteTunnel sends all of basalt's IPv4 through shale, over IPv4: the routes
// of the tunnel hold its own endpoint.
const defaultRouteTunnel = `listen_port = 30567

[hosts.shale]
ssh        = "root@93.93.130.7"
endpoint   = "93.93.130.7"
addresses  = ["10.7.0.1/24"]
routes     = ["0.0.0.0/0"]
forward    = true
masquerade = true

[hosts.basalt]
addresses  = ["10.7.0.2/24"]
`

const internet4 = "198.51.100.7"

// The router has no route to the INSIDE addresses, so the answers prove that
// they were masqueraded.
func TestLabApplyDefaultRoute(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Tunnel(defaultRouteTunnel)
	if err := u.Router.IP("address add " + internet4 + "/32 dev lo"); err != nil {
		t.Fatal(err)
	}
	hosts := []*lab.Host{u.Basalt, u.Shale}
	var before []string
	for _, h := range hosts {
		before = append(before, u.Snapshot(h))
	}
	u.Must(u.Basalt, "wgkeys apply shale && wgkeys apply")
	if out := u.Must(u.Basalt, "wgkeys plan && wgkeys plan shale"); out != "" {
		t.Errorf("the second plan is not empty:\n%s", out)
	}
	u.Must(u.Basalt, "ping -n -c 3 -i 0.2 -w 10 "+internet4)
	for destination, dev := range map[string]string{
		internet4: "dev wg0",
		demo.ShaleAddr + " mark $(wg show wg0 fwmark)": "dev eth0", // the encrypted packets
		"192.0.2.1": "dev eth0", // the link
	} {
		if route := u.Must(u.Basalt, "ip route get "+destination); !strings.Contains(route, dev) {
			t.Errorf("the route to %s is not by %s: %s", destination, dev, route)
		}
	}
	// Others' rules systemd-networkd takes away, the kernel's it does not.
	for _, priority := range []string{"32764", "32765"} {
		if rule := u.Must(u.Basalt, "ip -4 -details rule show priority "+priority); !strings.Contains(rule, "proto kernel") {
			t.Errorf("a rule that systemd-networkd takes away: %s", rule)
		}
	}
	u.Must(u.Basalt, "wgkeys down && wgkeys down shale")
	for i, h := range hosts {
		if diff := demo.LineDiff(before[i], u.Snapshot(h)); diff != "" {
			t.Errorf("%s is not as before:\n%s", h.Name(), diff)
		}
	}
}

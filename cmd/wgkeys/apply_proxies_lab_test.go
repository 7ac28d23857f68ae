package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
)

// TestLabApplyProxiesComeBack: the kernel forgets the proxy neighbours of an uplink that is set
// down, and at boot there may be no uplink yet. Nobody has to do anything for them to be there
// once there is one. A down leaves nothing of it.
func TestLabApplyProxiesComeBack(t *testing.T) {
	u := labtest.FirstUsers(t)
	before := u.Snapshot(u.Shale)
	u.Tunnel(fullTunnel)
	u.Clone()
	answers := func(when string) {
		t.Helper()
		u.Until("shale to answer for basalt "+when, func() bool {
			return u.Must(u.Shale, "ip -6 neighbour show proxy") != ""
		})
		if r := u.Run(u.Shale, "wgkeys plan"); r.Code != 0 || r.Stdout != "" {
			t.Errorf("%s: an apply has something to do:\n%s", when, r.Stdout)
		}
	}
	u.Must(u.Shale, "wgkeys apply")
	answers("after an apply")

	u.Must(u.Shale, "ip link set eth0 down && ip link set eth0 up && ip route replace default via 93.93.130.1")
	answers("after its uplink was down")

	u.Must(u.Shale, "wgkeys down && ip link set eth0 down && wgkeys apply && ip link set eth0 up && "+
		"ip route replace default via 93.93.130.1")
	answers("after an apply without an uplink")

	u.Must(u.Shale, "wgkeys down")
	u.Until("the process to end", func() bool { return u.Run(u.Shale, "pgrep -f '^wgkeys-names'").Code != 0 })
	u.Same(u.Shale, before, "after down")
}

// TestLabApplyProxiesShared: two tunnels whose host answers for both on an uplink that comes later.
// A down of one leaves the uplink what the other needs, and the last down leaves nothing.
func TestLabApplyProxiesShared(t *testing.T) {
	u := labtest.FirstUsers(t)
	before := u.Snapshot(u.Shale)
	u.Tunnel(strings.Replace(fullTunnel, "routes    = [\"::/0\"]\n", "", 1))
	u.Write(u.Basalt, "/root/net/tunnels/wg1.toml", `listen_port = 30568

[hosts.shale]
ssh       = "root@93.93.130.7"
endpoint  = "93.93.130.7"
addresses = ["10.78.0.1/24", "2001:db8:7768::1/128"]
forward   = true
ndp_proxy = true

[hosts.basalt]
addresses = ["10.78.0.2/32", "2001:db8:7768::2/128"]
`)
	u.Must(u.Basalt, "wgkeys gen -q -t wg1 shale basalt && wgkeys push -q -t wg1 shale")
	u.Clone()
	u.Must(u.Shale, "ip link set eth0 down && wgkeys apply -t wg0 && wgkeys apply -t wg1 && ip link set eth0 up && "+
		"ip route replace default via 93.93.130.1")
	u.Until("shale to answer for basalt in both tunnels", func() bool {
		there := u.Must(u.Shale, "ip -6 neighbour show proxy")
		return strings.Contains(there, "2001:db8:7767::2 ") && strings.Contains(there, "2001:db8:7768::2 ")
	})
	for _, name := range []string{"wg0", "wg1"} {
		if r := u.Run(u.Shale, "wgkeys plan -t "+name); r.Code != 0 || r.Stdout != "" {
			t.Errorf("an apply of %s has something to do:\n%s", name, r.Stdout)
		}
	}
	if !strings.Contains(u.Read(u.Shale, "/run/wgkeys/wg0.journal"), "eth0/proxy_ndp") {
		t.Error("wg0 does not record that eth0 answers for neighbours")
	}
	u.Must(u.Shale, "wgkeys down -t wg0")
	if got := u.Must(u.Shale, "sysctl -n net.ipv6.conf.eth0.proxy_ndp"); got != "1\n" {
		t.Errorf("after down of wg0 eth0 has proxy_ndp %s", got)
	}
	u.Must(u.Shale, "wgkeys down -t wg1")
	u.Same(u.Shale, before, "after both are down")
}

package main

import (
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

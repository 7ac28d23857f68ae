package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
)

// TestLabApplyEndpoints: of several endpoints the next one is tried where no handshake
// comes, as it is with several addresses of one name; a pair may have its own list. The
// psk of the pair lies where psk_file says.
func TestLabApplyEndpoints(t *testing.T) {
	u := labtest.FirstUsers(t)
	before := u.Snapshot(u.Basalt)
	u.Tunnel(demo.FirstTunnel + `
[hosts.basalt.peer.shale]
endpoint = ["93.93.130.77:1", "93.93.130.7"]
psk      = true
psk_file = "/etc/wireguard/with-shale.psk"
`)
	u.Must(u.Basalt, "wgkeys gen basalt shale && wgkeys push -q basalt shale && wgkeys apply -q shale")
	steps := u.Must(u.Basalt, "wgkeys apply")
	for _, want := range []string{"preshared-key /etc/wireguard/with-shale.psk", "endpoint 93.93.130.77:1 ",
		"93.93.130.77:1,93.93.130.7:30567, OUTSIDE"} {
		if !strings.Contains(steps, want) {
			t.Errorf("no %q in the steps:\n%s", want, steps)
		}
	}
	u.PlanIs("after the first endpoint")
	u.Must(u.Basalt, "ping -6 -n -q -c 1 -w 110 "+demo.Internet)
	if at := u.Must(u.Basalt, "wg show wg0 endpoints"); !strings.HasSuffix(at, "\t93.93.130.7:30567\n") {
		t.Errorf("the peer is at %s", at)
	}
	u.PlanIs("after the second endpoint")
	u.Must(u.Basalt, "wgkeys down -q && wgkeys down -q shale && rm /etc/wireguard/with-shale.psk")
	u.Same(u.Basalt, before, "after down")
}

package main

import (
	"fmt"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/tunnel"
)

// The ports of a tunnel in use change, one host's and the other's in turn, and go
// back. Both follow, and nothing is lost.
func TestLabApplyPortOfEachEnd(t *testing.T) {
	t.Parallel()
	w := newPortWalk(t)
	w.step(0, portView)
	w.changePeersPort(30569)
	w.changePeersPort(30567)
	w.step(portView, 0)
}

// Killed at any change that a new port takes, apply leaves what the next apply
// completes, and what the old port gets is redirected no longer than that.
func TestLabApplyPortKilled(t *testing.T) {
	t.Parallel()
	w := newPortWalk(t)
	at := 0
	for n := 1; n <= 3; n++ {
		for _, where := range []string{"kill-before", "kill-after"} {
			next := portView - at
			apply := fmt.Sprintf("wgkeys apply -q --view /root/%d.json", next)
			w.Must(w.Shale, fmt.Sprintf("WGKEYS_TEST_FAULT='%s %d' %s || true; %s", where, n, apply, apply))
			if diff := demo.LineDiff(w.fresh[next], w.snapshot()); diff != "" {
				t.Errorf("%s %d, then apply: not as after a fresh start:\n%s", where, n, diff)
			}
			at = next
		}
	}
	w.Must(w.Shale, fmt.Sprintf("WGKEYS_TEST_FAULT='kill-after 1' wgkeys apply -q --view /root/%d.json || true; wgkeys down -q", portView-at))
	if left := w.Must(w.Shale, "nft list tables"); strings.Contains(left, "wgkeys") {
		t.Errorf("down leaves %s", left)
	}
}

// portView is of transitionViews: as the first, but for the port.
const portView = 5

func newPortWalk(t *testing.T) *walk {
	t.Helper()
	w := newWalk(t, throughWgkeys, []int{0, portView})
	w.start(0)
	w.still()
	return w
}

// changePeersPort changes basalt's port.
func (w *walk) changePeersPort(port int) {
	w.Helper()
	v, err := tunnel.ParseView([]byte(w.Read(w.Basalt, "/root/basalt.json")))
	if err != nil {
		w.Fatal(err)
	}
	v.ListenPort = port
	w.Write(w.Basalt, "/root/basalt.json", encoded(w.T, v))
	w.Must(w.Basalt, "wgkeys apply -q --view /root/basalt.json")
	for i, got := range w.count() {
		if got.Lost > 0 || got.Doubled > 0 {
			w.Errorf("basalt's port is %d: %s: %v", port, w.flows[i].Name, got)
		}
	}
}

// TestLabApplyEndpointMended: a peer that was looked for at the wrong address, and never
// answered, is made again when its address is mended: else WireGuard would wait for the
// rest of REKEY_TIMEOUT, 5 s. One that has answered keeps its session.
func TestLabApplyEndpointMended(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	elsewhere := strings.Replace(demo.FirstTunnel, `endpoint  = "`+demo.ShaleAddr+`"`, `endpoint  = "192.0.2.77"`, 1)
	sent := func() string { return strings.Fields(u.Must(u.Basalt, "wg show wg0 transfer"))[2] }
	u.Tunnel(elsewhere)
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys apply -q && ! ping -n -q -c 1 -W 1 2001:db8:ffff::1")
	if sent() == "0" {
		t.Fatal("the peer was not looked for")
	}
	u.Tunnel(demo.FirstTunnel)
	u.Must(u.Basalt, "wgkeys apply -q")
	if now := sent(); now != "0" {
		t.Errorf("the peer that did not answer has sent %s bytes, and is the one of before", now)
	}
	u.Must(u.Basalt, "ping -n -q -c 1 -w 15 2001:db8:ffff::1")
	u.Tunnel(elsewhere)
	u.Must(u.Basalt, "wgkeys apply -q")
	if sent() == "0" {
		t.Error("a peer that has answered was made again")
	}
}

// TestLabApplyEndpointAtLast: where packets went to a peer whose name led nowhere, the first
// one after it is found begins a handshake: a device in user space would else wait for
// the rest of REKEY_TIMEOUT, since it had begun one that it could not send.
func TestLabApplyEndpointAtLast(t *testing.T) {
	u := newNamed(t, "")
	setHosts(u)
	u.Must(u.Basalt, "wgkeys apply -q && ! ping -n -q -c 1 -W 1 10.9.0.1")
	setHosts(u, demo.ShaleAddr)
	u.Must(u.Basalt, "wgkeys apply -q; ping -n -q -c 1 -W 1 10.9.0.1 || true")
	if sent := strings.Fields(u.Must(u.Basalt, "wg show wg0 transfer"))[2]; sent == "0" {
		t.Error("there is an address, and no handshake begins")
	}
	u.Must(u.Basalt, "ping -n -q -c 1 -w 15 10.9.0.1")
}

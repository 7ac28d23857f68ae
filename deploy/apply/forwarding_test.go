package apply_test

import (
	"errors"
	"net/netip"
	"path"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
)

// hosts are one of each way to forward IPv6.
func hosts(t *testing.T) map[string]*host {
	forced := newHost(t)
	forced.canForce()
	return map[string]*host{"Linux 6.1": newHost(t), "Linux 6.17": forced}
}

// addLink adds an interface that learned a default route from advertisements.
func (h *host) addLink(name string, metric int) route {
	h.links[name] = &link{}
	h.appear(name)
	r := route{apply.Route{Prefix: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fe80::2"), Metric: metric},
		name, true}
	h.routes = append(h.routes, r)
	return r
}

// empty fails where a second apply has something to do.
func (h *host) empty(t *testing.T, v *tunnel.View) {
	t.Helper()
	if again, _ := h.plan(t, v); len(again.Steps) > 0 {
		t.Errorf("the second plan is not empty:\n%s", spelled(again))
	}
}

// TestForced: with force_forwarding the host forwards both ways and is no router:
// nothing else of it changes, and no default route is lost at any moment.
func TestForced(t *testing.T) {
	shale, _ := firstUsers(t)
	h := newHost(t)
	h.canForce()
	h.addLink("lan0", 300)
	h.sysctls["net/ipv6/conf/lan0/force_forwarding"] = "1" // somebody else's
	origin := h.dump()
	learned := slices.Clone(h.routes)
	h.hook = func(_ moment, _ int, c apply.Change) error {
		for _, r := range learned {
			if !slices.Contains(h.routes, r) {
				t.Errorf("around %s: the route %s is lost", c, r.Prefix)
			}
		}
		return nil
	}
	h.apply(t, shale)
	if !h.forwards6("eth0") || !h.forwards6("wg0") || !h.forwards6("br0") {
		t.Error("it does not forward")
	}
	for line := range strings.Lines(diff(origin, h.dump())) {
		if strings.Contains(line, "sysctl net/ipv6") && !strings.Contains(line, "/force_forwarding=") &&
			!strings.Contains(line, "/wg0/") {
			t.Errorf("changed besides: %s", line)
		}
	}
	h.empty(t, shale)
	h.addLink("eth1", 200)
	if !h.forwards6("eth1") {
		t.Error("what comes in by an interface that came later is not forwarded")
	}
	h.sysctls["net/ipv6/conf/eth0/force_forwarding"] = "0"
	if plan := h.apply(t, shale); len(plan.Steps) != 1 || !h.forwards6("eth0") {
		t.Errorf("what somebody reset is mended by\n%s", spelled(plan))
	}
	h.down(t, "wg0")
	if h.forwards6("eth1") {
		t.Error("after down what comes in by an interface that came meanwhile is still forwarded")
	}
	h.removeLink("eth1")
	if d := diff(origin, h.dump()); d != "" {
		t.Errorf("down leaves\n%s", d)
	}
}

// TestForcedByTwo: the last of two tunnels takes from interfaces what they had from the default.
func TestForcedByTwo(t *testing.T) {
	shale, _ := firstUsers(t)
	other := *shale
	other.Tunnel, other.PrivateKeyFile, other.ListenPort = "wg1", "/etc/wireguard/wg1.key", 30568
	other.Addresses, other.Peers, other.Routes = nil, nil, nil
	h := newHost(t)
	h.canForce()
	origin := h.dump()
	h.apply(t, shale)
	h.addLink("eth1", 200)
	h.apply(t, &other)
	h.addLink("eth2", 201)
	h.down(t, "wg0")
	if !h.forwards6("eth1") || !h.forwards6("eth2") {
		t.Error("the other tunnel still needs it")
	}
	h.empty(t, &other)
	h.down(t, "wg1")
	for _, link := range []string{"eth1", "eth2"} {
		if h.forwards6(link) {
			t.Errorf("%s has it still", link)
		}
		h.removeLink(link)
	}
	if d := diff(origin, h.dump()); d != "" {
		t.Errorf("down leaves\n%s", d)
	}
}

// TestForcedAndKilled kills a down before and after each change: another one takes from an
// interface what it had from the default.
func TestForcedAndKilled(t *testing.T) {
	shale, _ := firstUsers(t)
	start := func() *host {
		h := newHost(t)
		h.canForce()
		h.addLink("lan0", 300)
		h.sysctls["net/ipv6/conf/lan0/force_forwarding"] = "1" // somebody else's
		h.apply(t, shale)
		h.addLink("eth1", 200)
		return h
	}
	h := start()
	h.n = 0
	h.down(t, "wg0")
	want, n := h.dump(), h.n
	moments(n, func(when moment, number int) {
		h := start()
		h.n, h.hook = 0, at(when, number, func() error { panic(errStop) })
		func() {
			defer func() {
				if recover() != errStop {
					t.Fatalf("change %d was never made", number)
				}
			}()
			h.down(t, "wg0")
		}()
		h.hook = nil
		h.down(t, "wg0")
		if d := diff(want, h.dump()); d != "" {
			t.Errorf("killed at change %d (after: %v), down leaves\n%s", number, when, d)
		}
	})
}

// TestRouterGoesOnIgnoring: what ignores advertisements before apply ignores them
// afterwards, on whichever kernel; a router that accepts them on its uplink goes on
// with that, too.
func TestRouterGoesOnIgnoring(t *testing.T) {
	shale, _ := firstUsers(t)
	for name, h := range hosts(t) {
		h.sysctls["net/ipv6/conf/eth0/accept_ra"] = "2"
		h.write("net/ipv6/conf/all/forwarding", "1")
		h.addLink("lan0", 300)
		h.addLink("wan1", 400)
		h.write("net/ipv6/conf/wan1/forwarding", "0") // a host's, by hand
		origin := h.dump()
		h.apply(t, shale)
		for line := range strings.Lines(diff(origin, h.dump())) {
			if strings.Contains(line, "/accept_ra=") && !strings.Contains(line, "/wg0/") {
				t.Errorf("%s: %s", name, line)
			}
		}
		h.empty(t, shale)
		h.down(t, "wg0")
		if d := diff(origin, h.dump()); d != "" {
			t.Errorf("%s: down leaves\n%s", name, d)
		}
	}
}

// TestRouterOfOneLink: a router on one interface alone, which ignores
// advertisements there and accepts them on its uplink.
func TestRouterOfOneLink(t *testing.T) {
	shale, _ := firstUsers(t)
	for name, h := range hosts(t) {
		h.sysctls["net/ipv6/conf/br0/accept_ra"] = "1"
		origin := h.dump()
		h.apply(t, shale)
		if got := h.sysctls["net/ipv6/conf/br0/accept_ra"]; got != "1" {
			t.Errorf("%s: accept_ra of what ignored advertisements is %s", name, got)
		}
		h.empty(t, shale)
		h.down(t, "wg0")
		if d := diff(origin, h.dump()); d != "" {
			t.Errorf("%s: down leaves\n%s", name, d)
		}
	}
}

// TestAcceptedBefore: accept_ra=2 that somebody else set stays, and a second apply
// has nothing to do with it.
func TestAcceptedBefore(t *testing.T) {
	shale, _ := firstUsers(t)
	for name, h := range hosts(t) {
		h.sysctls["net/ipv6/conf/eth0/accept_ra"] = "2"
		origin := h.dump()
		h.apply(t, shale)
		h.empty(t, shale)
		h.apply(t, shale)
		h.down(t, "wg0")
		if d := diff(origin, h.dump()); d != "" {
			t.Errorf("%s: down leaves\n%s", name, d)
		}
	}
}

// TestRouterUntilDown: a host that an earlier version made a router, on a kernel
// that has force_forwarding, stays one: the way back resets what others have of it,
// and puts it back.
func TestRouterUntilDown(t *testing.T) {
	shale, _ := firstUsers(t)
	for _, way := range []string{"down", "no longer a router", "failed"} {
		h := newHost(t)
		h.apply(t, shale)
		h.canForce()
		const others = "net/ipv6/conf/br0/force_forwarding"
		h.sysctls[others] = "1"
		h.empty(t, shale)
		forced := h.dump()
		closed := *shale
		closed.Forward, closed.ForwardIPv6 = false, false
		switch way {
		case "down":
			h.down(t, "wg0")
		case "no longer a router":
			h.apply(t, &closed)
			h.empty(t, &closed)
		case "failed":
			h.hook = func(m moment, _ int, c apply.Change) error {
				if s, ok := c.(apply.SysctlChange); ok && m == after && path.Base(s.Key) == "accept_ra" && s.New == "1" {
					h.hook = nil
					return errStop
				}
				return nil
			}
			if _, err := h.tryApply(t, &closed); !errors.Is(err, errStop) {
				t.Error(err)
			}
			if d := diff(forced, h.dump()); d != "" {
				t.Errorf("a failed apply leaves\n%s", d)
			}
		}
		if h.sysctls[others] != "1" {
			t.Errorf("%s takes somebody else's force_forwarding", way)
		}
		h.down(t, "wg0")
		if h.sysctls[others] != "1" || h.sysctls["net/ipv6/conf/all/forwarding"] != "0" {
			t.Errorf("%s, then down: %s=%s", way, others, h.sysctls[others])
		}
	}
}

// TestForcedProxy: neighbours are answered for only where the interface itself is a
// router's. That one goes on accepting advertisements, and no other loses its route.
func TestForcedProxy(t *testing.T) {
	v := view(t, strings.Replace(beforeChange, "[hosts.basalt]", "ndp_proxy = true\n[hosts.basalt]", 1), "shale", nil)
	plain := view(t, beforeChange, "shale", nil)
	h := newHost(t)
	h.canForce()
	h.addLink("wlan0", 600)
	h.links["lan0"] = &link{}
	h.appear("lan0")
	origin := h.dump()
	h.apply(t, v)
	for key, want := range map[string]string{
		"eth0/forwarding": "1", "eth0/accept_ra": "2", "wlan0/accept_ra": "2", "all/forwarding": "0",
		"lan0/forwarding": "0", "lan0/accept_ra": "1", "default/accept_ra": "1",
	} {
		if got := h.sysctls["net/ipv6/conf/"+key]; got != want {
			t.Errorf("%s is %s, not %s", key, got, want)
		}
	}
	h.empty(t, v)
	h.apply(t, plain)
	if got := h.sysctls["net/ipv6/conf/eth0/forwarding"]; got != "0" {
		t.Error("without proxies it stays a router")
	}
	h.empty(t, plain)
	h.apply(t, v)
	h.down(t, "wg0")
	if d := diff(origin, h.dump()); d != "" {
		t.Errorf("down leaves\n%s", d)
	}
}

// TestTwoForced: what two tunnels forward with stays until the last of them goes.
func TestTwoForced(t *testing.T) {
	shale, _ := firstUsers(t)
	for _, order := range [][]string{{"wg0", "wg1"}, {"wg1", "wg0"}} {
		h := newHost(t)
		h.canForce()
		origin := h.dump()
		h.apply(t, shale)
		h.apply(t, second(shale))
		h.empty(t, shale)
		h.down(t, order[0])
		if !h.forwards6("eth0") || !h.forwards6(order[1]) {
			t.Errorf("down %s takes forwarding from %s", order[0], order[1])
		}
		h.down(t, order[1])
		if d := diff(origin, h.dump()); d != "" {
			t.Errorf("down %v leaves\n%s", order, d)
		}
	}
}

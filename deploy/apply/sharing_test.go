package apply_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/tunnel"
)

// second returns the same tunnel under another name and with other prefixes.
func second(v *tunnel.View) *tunnel.View {
	w := *v
	w.Tunnel, w.PublicKey, w.PrivateKeyFile = "wg1", publicKey("wg1"), "/etc/wireguard/wg1.key"
	w.Addresses, w.Routes, w.Proxies, w.Masquerade = nil, nil, nil, nil
	w.Peers = []tunnel.Peer{{Name: "chert", PublicKey: publicKey("chert, wg1"),
		AllowedIPs: applytest.Prefixes("10.77.0.2/32")}}
	w.Routes = []tunnel.Route{{Prefix: w.Peers[0].AllowedIPs[0], Peer: "chert"}}
	return &w
}

// TestTwoTunnels: what two tunnels need stays until the last of them goes,
// whichever that is.
func TestTwoTunnels(t *testing.T) {
	shale, _ := firstUsers(t)
	for _, order := range [][]string{{"wg0", "wg1"}, {"wg1", "wg0"}} {
		h := newHost(t)
		origin := h.dump()
		h.apply(t, shale)
		alone := h.dump()
		h.apply(t, second(shale))
		h.down(t, order[0])
		for key, want := range map[string]string{
			"net/ipv6/conf/all/forwarding":     "1",
			"net/ipv6/conf/eth0/forwarding":    "1",
			"net/ipv6/conf/eth0/accept_ra":     "2",
			"net/ipv4/conf/all/send_redirects": "0",
		} {
			if got := h.sysctls[key]; got != want {
				t.Errorf("down %s first: %s is %s, and the other tunnel needs %s", order[0], key, got, want)
			}
		}
		if order[0] == "wg1" && diff(alone, h.dump()) != "" {
			t.Errorf("wg1 came and went, and left\n%s", diff(alone, h.dump()))
		}
		h.down(t, order[1])
		if d := diff(origin, h.dump()); d != "" {
			t.Errorf("down %v leaves\n%s", order, d)
		}
	}
}

// TestTwoTunnelsAtRandom does so for any two views in either order.
func TestTwoTunnelsAtRandom(t *testing.T) {
	for seed := range 400 {
		r := random(seed)
		a, b := applytest.View(r, "wg0"), second(applytest.View(r, "wg0"))
		if len(a.Routes) > 0 && a.Routes[0].Prefix.Bits() == 0 {
			continue // two tunnels that would route each other are refused
		}
		h := newHost(t)
		if seed%3 == 0 {
			h.canForce()
		}
		origin := h.dump()
		h.apply(t, a)
		h.apply(t, b)
		order := []string{"wg0", "wg1"}
		if seed%2 == 0 {
			slices.Reverse(order)
		}
		for _, name := range order {
			h.down(t, name)
		}
		if d := diff(origin, h.dump()); d != "" {
			t.Fatalf("seed %d: down %v leaves\n%s", seed, order, d)
		}
	}
}

// TestForeignPeers: what wgkeys did not make it leaves alone, and says so.
func TestForeignPeers(t *testing.T) {
	shale, _ := firstUsers(t)
	h := newHost(t)
	h.apply(t, shale)
	l := h.links["wg0"]
	foreign := publicKey("foreign")
	l.peers[foreign] = &apply.Peer{PublicKey: foreign}
	l.addresses = append(l.addresses, apply.Address{Prefix: netip.MustParsePrefix("192.0.2.1/32")})
	r := apply.Route{Prefix: netip.MustParsePrefix("192.0.2.0/24")}
	h.routes = append(h.routes, route{r, "wg0", false})
	h.proxies = append(h.proxies, apply.Proxy{Link: "eth0", Addr: netip.MustParseAddr("2001:db8::77")})
	before := h.dump()
	plan := h.apply(t, shale)
	if len(plan.Steps) > 0 || diff(before, h.dump()) != "" {
		t.Errorf("apply touched what is not its own:\n%s", spelled(plan))
	}
	for _, what := range []string{foreign.String(), "192.0.2.1/32", "192.0.2.0/24"} {
		if !strings.Contains(strings.Join(plan.Notes, "\n"), what) {
			t.Errorf("no note tells of %s: %q", what, plan.Notes)
		}
	}
	h.down(t, "wg0")
	if len(h.proxies) != 1 {
		t.Errorf("down took somebody else's proxy: %v", h.proxies)
	}
}

// TestRoamed: a peer that went elsewhere stays there, also when something else
// about it changes; a new endpoint in the view moves it.
func TestRoamed(t *testing.T) {
	a := view(t, beforeChange, "basalt", nil)
	h := newHost(t)
	h.apply(t, a)
	live := h.links["wg0"].peers[publicKey("shale")]
	roamed := netip.MustParseAddrPort("203.0.113.99:9")
	live.Endpoint = roamed
	for _, change := range []func(){
		func() {},
		func() { a.Peers[0].Keepalive = 25 },
		func() { a.Peers[0].AllowedIPs = a.Peers[0].AllowedIPs[1:]; a.Routes = a.Routes[1:] },
	} {
		change()
		h.apply(t, a)
		if got := h.links["wg0"].peers[publicKey("shale")].Endpoint; got != roamed {
			t.Fatalf("a roamed peer was moved to %s", got)
		}
	}
	a.Peers[0].Endpoint = "93.93.130.9:30567"
	h.apply(t, a)
	if got := h.links["wg0"].peers[publicKey("shale")].Endpoint; got.String() != a.Peers[0].Endpoint {
		t.Errorf("a new endpoint was not set: %s", got)
	}
}

// TestStrayed: a peer whose last packet came from an address INSIDE, where nothing can be
// sent, is brought back, by its name too; and no route is made for that address.
func TestStrayed(t *testing.T) {
	const file = `[hosts.shale]
endpoint = "SHALE"
addresses = ["fd00:9::1/64"]
routes = ["::/0"]
[hosts.basalt]
addresses = ["fd00:9::2/64"]
`
	const was, name = "93.93.130.7:51820", "shale.example.net"
	for _, endpoint := range []string{was, name} {
		v := view(t, strings.Replace(file, "SHALE", endpoint, 1), "basalt", nil)
		h := newHost(t)
		h.names[name+":51820"] = addrs(was)
		h.apply(t, v)
		live := h.links["wg0"].peers[publicKey("shale")]
		live.Endpoint = netip.MustParseAddrPort("[fd00:9::1]:51820")
		plan := h.apply(t, v)
		if len(plan.Steps) != 1 || !strings.Contains(plan.Steps[0].Why, "was last heard from an address INSIDE") {
			t.Errorf("%s: the steps are %v", endpoint, plan.Steps)
		}
		if got := h.links["wg0"].peers[publicKey("shale")].Endpoint.String(); got != was {
			t.Errorf("%s: the peer is at %s", endpoint, got)
		}
	}
}

// TestEndpointTakenOut: the kernel keeps an endpoint that is in the tunnel file
// no more, and the plan says so.
func TestEndpointTakenOut(t *testing.T) {
	a := view(t, beforeChange, "basalt", nil)
	h := newHost(t)
	h.apply(t, a)
	for i := range a.Peers {
		a.Peers[i].Endpoint = ""
	}
	plan := h.apply(t, a)
	if !strings.Contains(strings.Join(plan.Notes, "\n"),
		"peer shale has no endpoint in the tunnel file any more: the kernel keeps 93.93.130.7:30567, OUTSIDE") {
		t.Errorf("the notes are %q", plan.Notes)
	}
	if h.links["wg0"].peers[publicKey("shale")].Endpoint.String() != "93.93.130.7:30567" {
		t.Error("and the endpoint is gone")
	}
}

// TestUnresolved: an endpoint whose name cannot be looked up keeps the old one,
// is told, and is set as soon as it can be.
func TestUnresolved(t *testing.T) {
	a := view(t, beforeChange, "basalt", nil)
	h := newHost(t)
	h.apply(t, a)
	a.Peers[0].Endpoint = "shale.example.net:30567"
	h.names[a.Peers[0].Endpoint] = apply.Endpoint{Err: errStop}
	a.Peers[0].Keepalive = 25 // so that there is a change of the peer
	if plan := h.apply(t, a); !strings.Contains(strings.Join(plan.Notes, "\n"), "shale.example.net") {
		t.Errorf("nothing tells of the name: %q", plan.Notes)
	}
	addr := netip.MustParseAddrPort("198.51.100.7:30567")
	h.names[a.Peers[0].Endpoint] = apply.Endpoint{Addr: addr}
	h.apply(t, a)
	if got := h.links["wg0"].peers[publicKey("shale")].Endpoint; got != addr {
		t.Errorf("the endpoint is %s, and the name is %s by now", got, addr)
	}
}

// TestSomebodyElsesSysctl: a parameter that was changed between apply and down
// is left alone, and the plan says so.
func TestSomebodyElsesSysctl(t *testing.T) {
	shale, _ := firstUsers(t)
	shale.Sysctls = map[string]string{"net.core.rmem_max": "2500000"}
	h := newHost(t)
	origin := h.dump()
	h.apply(t, shale)
	h.sysctls["net/core/rmem_max"] = "4000000"
	plan := h.down(t, "wg0")
	want := "- sysctl net/core/rmem_max=212992\n+ sysctl net/core/rmem_max=4000000\n"
	if d := diff(origin, h.dump()); d != want {
		t.Errorf("down leaves\n%s", d)
	}
	if !strings.Contains(strings.Join(plan.Notes, "\n"), "net.core.rmem_max is 4000000") {
		t.Errorf("no note tells of it: %q", plan.Notes)
	}
}

// TestTwoWishes: two tunnels want different values. Whoever stays has its own,
// and in the end there is the value from before both.
func TestTwoWishes(t *testing.T) {
	for _, order := range [][]string{{"wg0", "wg1"}, {"wg1", "wg0"}} {
		shale, _ := firstUsers(t)
		shale.Sysctls = map[string]string{"net.core.rmem_max": "1000000"}
		other := second(shale)
		other.Sysctls = map[string]string{"net.core.rmem_max": "2000000"}
		h := newHost(t)
		origin := h.dump()
		h.apply(t, shale)
		h.apply(t, other)
		h.down(t, order[0])
		if got, want := h.sysctls["net/core/rmem_max"],
			map[string]string{"wg0": "1000000", "wg1": "2000000"}[order[1]]; got != want {
			t.Errorf("%s stays and has %s, not %s", order[1], got, want)
		}
		h.down(t, order[1])
		if d := diff(origin, h.dump()); d != "" {
			t.Errorf("down %v leaves\n%s", order, d)
		}
	}
}

// TestLessonOne: forwarding before accept_ra costs the host its default route,
// and the order of the plan keeps it.
func TestLessonOne(t *testing.T) {
	shale, _ := firstUsers(t)
	h := newHost(t)
	plan, _ := h.plan(t, shale)
	has := func(k *kernel) bool { return slices.ContainsFunc(k.routes, func(r route) bool { return r.ra }) }
	sysctls := []apply.Change{}
	for _, s := range plan.Steps {
		if _, ok := s.Change.(apply.SysctlChange); ok {
			sysctls = append(sysctls, s.Change)
		}
	}
	right, wrong := h.clone(), h.clone()
	if err := right.Do(t.Context(), sysctls); err != nil || !has(right) {
		t.Errorf("the default route is gone: %v", err)
	}
	slices.Reverse(sysctls)
	if err := wrong.Do(t.Context(), sysctls); err != nil || has(wrong) {
		t.Errorf("in the wrong order the default route is still there: %v", err)
	}
}

// TestLateUplink: an interface that became an uplink while the host forwards is
// put back no less carefully than the first one.
func TestLateUplink(t *testing.T) {
	shale, _ := firstUsers(t)
	h := newHost(t)
	h.apply(t, shale)
	h.links["eth1"] = &link{}
	h.appear("eth1")
	late := route{apply.Route{Prefix: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fe80::2"), Metric: 200},
		"eth1", true}
	h.routes = append(h.routes, late)
	h.apply(t, shale)
	if h.sysctls["net/ipv6/conf/eth1/accept_ra"] != "2" {
		t.Error("the late uplink loses its default route with the next change of forwarding")
	}
	h.down(t, "wg0")
	if !slices.Contains(h.routes, late) {
		t.Error("down lost the late uplink's default route")
	}
	if got := h.sysctls["net/ipv6/conf/eth1/accept_ra"]; got != "1" {
		t.Errorf("its accept_ra is %s", got)
	}
}

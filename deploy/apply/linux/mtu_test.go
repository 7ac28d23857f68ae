package linux_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/tunnel"
)

const far4, far6 = "198.51.100.7", "2001:db8:aaaa::7"

// farPeer returns a view with one peer.
func farPeer(endpoint, inside string) *tunnel.View {
	return &tunnel.View{Tunnel: "wg0", Host: "shale", PublicKey: publicKey(applytest.Own[0]),
		PrivateKeyFile: "/etc/wireguard/wg0.key",
		Addresses:      applytest.Prefixes(inside),
		Peers: []tunnel.Peer{{Name: "basalt", PublicKey: publicKey("basalt"), Endpoint: endpoint,
			AllowedIPs: applytest.Prefixes("10.77.0.2/32")}}}
}

// TestPaths: the MTU of a path is the one that the kernel uses, whatever limits it, and is
// not looked up where everything is as wide as Ethernet.
func TestPaths(t *testing.T) {
	h := newHost(t)
	for _, test := range []struct {
		name, prepare string
		addr          string
		want          apply.Path
	}{
		{"the link", "ip link set eth0 mtu 1460", far4, apply.Path{Link: "eth0", MTU: 1460}},
		{"the link, IPv6", "ip link set eth0 mtu 1460", far6, apply.Path{Link: "eth0", MTU: 1460}},
		{"advertised by a router", "echo 1400 >/proc/sys/net/ipv6/conf/eth0/mtu", far6, apply.Path{Link: "eth0", MTU: 1400}},
		{"advertised by a router, IPv4", "echo 1400 >/proc/sys/net/ipv6/conf/eth0/mtu", far4,
			apply.Path{Link: "eth0", MTU: 1500}},
		{"the route", "ip route replace default via 192.0.2.1 mtu 1440", far4, apply.Path{Link: "eth0", MTU: 1440}},
		{"the route, IPv6", "ip -6 route replace default via 2001:db8:ffff::1 metric 100 mtu 1440", far6,
			apply.Path{Link: "eth0", MTU: 1440}},
		{"a route to it alone", "ip route add " + far4 + " via 192.0.2.1 mtu lock 1450", far4,
			apply.Path{Link: "eth0", MTU: 1450}},
		{"wider than its link", "ip link set eth0 mtu 1460; ip route add " + far4 + " via 192.0.2.1 mtu 1490", far4,
			apply.Path{Link: "eth0", MTU: 1460}},
		{"another link", "ip link add wg8 mtu 1400 type veth peer name other; ip link set other up; ip link set wg8 up; ip route add 198.51.100.0/24 dev wg8", far4, apply.Path{Link: "wg8", MTU: 1400}},
		{"two next hops", "ip link add wg8 mtu 1400 type veth peer name other; ip link set other up; ip link set wg8 up; ip route add 198.51.100.0/24 nexthop via 192.0.2.1 nexthop dev wg8",
			far4, apply.Path{Link: "wg8", MTU: 1400}},
		{"none", "ip link set eth0 mtu 1460; ip route del default", far4, apply.Path{}},
		{"refused", "ip link set eth0 mtu 1460; ip route add unreachable 198.51.100.0/24", far4, apply.Path{}},
		{"into the tunnel itself",
			"ip link set eth0 mtu 1460; ip link add wg0 mtu 1400 type veth peer name other; ip link set other up; ip link set wg0 up; ip route add 198.51.100.0/24 dev wg0", far4, apply.Path{}},
		{"the narrow one is another",
			"ip link add docker0 mtu 1400 type veth peer name other; ip link set other up; ip link set docker0 up", far4,
			apply.Path{Link: "eth0", MTU: 1500}},
		{"anywhere", "ip link set eth0 mtu 1460", apply.Anywhere[1].String(), apply.Path{Link: "eth0", MTU: 1460}},
		{"link-local", "ip link set eth0 mtu 1460", "fe80::7%eth0", apply.Path{Link: "eth0", MTU: 1460}},
	} {
		addr := netip.MustParseAddr(test.addr)
		v := farPeer(netip.AddrPortFrom(addr, 51820).String(), "10.77.0.1/24")
		state, err := h.Observe(t.Context(), "wg0", v, nil)
		must(t, err)
		if state.Paths != nil {
			t.Errorf("before %s: %v", test.name, state.Paths)
		}
		run(t, "sh", "-e", "-c", test.prepare)
		state, err = h.Observe(t.Context(), "wg0", v, nil)
		must(t, err)
		if got, there := state.Paths[addr]; got != test.want || !there {
			t.Errorf("%s: %v, want %v: %v", test.name, got, test.want, state.Paths)
		}
		run(t, "sh", "-c", `for l in wg8 wg0 docker0; do ip link del $l 2>/dev/null; done
			ip link set eth0 mtu 1500; echo 1500 >/proc/sys/net/ipv6/conf/eth0/mtu
			ip route flush root 198.51.100.0/24; ip route replace default via 192.0.2.1
			ip -6 route replace default via 2001:db8:ffff::1 metric 100`)
	}
}

// TestManyPaths: the kernel's answers are matched with the right addresses, even if most
// have no route.
func TestManyPaths(t *testing.T) {
	h := newHost(t)
	run(t, "sh", "-e", "-c",
		"ip route del default; ip link set eth0 mtu 1460; ip link add wg8 mtu 1400 type veth peer name other; ip link set other up; ip link set wg8 up; ip route add 10.0.3.0/24 dev wg8; ip route add 10.0.5.0/24 via 192.0.2.1")
	v := farPeer("", "10.77.0.1/24")
	for i := range 2000 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		p := v.Peers[0]
		p.Endpoint = netip.AddrPortFrom(a, 51820).String()
		v.Peers = append(v.Peers, p)
	}
	state, err := h.Observe(t.Context(), "wg0", v, nil)
	must(t, err)
	for a, path := range state.Paths {
		want := map[byte]apply.Path{3: {Link: "wg8", MTU: 1400}, 5: {Link: "eth0", MTU: 1460}}
		if a.Is4() && path != want[a.As4()[2]] {
			t.Errorf("%s: %v", a, path)
		}
	}
	if len(state.Paths) != 2002 {
		t.Errorf("%d paths", len(state.Paths))
	}
}

// TestPathOfTheMark: encrypted packets with a mark take the path that the rules give the
// mark. The tunnel's own routes catch all others.
func TestPathOfTheMark(t *testing.T) {
	h := newHost(t)
	run(t, "ip", "link", "set", "eth0", "mtu", "1460")
	v := farPeer(far4+":51820", "10.77.0.1/24")
	all := netip.MustParsePrefix("0.0.0.0/0")
	v.Peers[0].AllowedIPs = append(v.Peers[0].AllowedIPs, all)
	v.Routes = []tunnel.Route{{Prefix: all, Peer: "basalt"}}
	h.apply(t, v)
	if out := run(t, "ip", "link", "show", "wg0"); !strings.Contains(out, "mtu 1376 ") {
		t.Errorf("the tunnel is %s", out)
	}
	if plan, _ := h.plan(t, v); len(plan.Steps) > 0 {
		t.Errorf("the second plan is\n%s", spelled(plan))
	}
	run(t, "ip", "link", "set", "eth0", "mtu", "1400")
	if plan := h.apply(t, v); len(plan.Steps) != 1 ||
		!strings.HasPrefix(spelled(plan), "ip link set wg0 mtu 1328  # its MTU: eth0 carries 1400 bytes to peer basalt") {
		t.Errorf("narrower, the plan is\n%s", spelled(plan))
	}
	h.down(t)
}

// TestWiderAgain: when the MTU of a link becomes large enough for IPv6, the link gets
// nothing of IPv6 but what the view says.
func TestWiderAgain(t *testing.T) {
	h := newHost(t)
	origin := dump(t)
	narrow, wide := farPeer("", "10.77.0.1/24"), farPeer("", "10.77.0.1/24")
	narrow.MTU = 1000
	own := func(parameter string) string {
		text, err := os.ReadFile("/proc/sys/net/ipv6/conf/wg0/" + parameter)
		must(t, err)
		return strings.TrimSpace(string(text))
	}
	for _, mtu := range []int{1280, 0} {
		h.apply(t, narrow)
		wide.MTU = mtu
		h.apply(t, wide)
		if out := run(t, "ip", "-6", "-o", "address", "show", "dev", "wg0"); out != "" {
			t.Errorf("MTU %d: it has the address %s", mtu, out)
		}
		if out := run(t, "ip", "-6", "route", "show", "dev", "wg0"); out != "" {
			t.Errorf("MTU %d: it has the route %s", mtu, out)
		}
		if mode, ra := own("addr_gen_mode"), own("accept_ra"); mode != "1" || ra != "0" {
			t.Errorf("MTU %d: addr_gen_mode %s, accept_ra %s", mtu, mode, ra)
		}
	}
	six := farPeer("", "fd00::1/64")
	h.apply(t, narrow)
	h.apply(t, six)
	if out := run(t, "ip", "-6", "-o", "address", "show", "dev", "wg0"); strings.Count(out, "inet6") != 1 ||
		!strings.Contains(out, "fd00::1/64") {
		t.Errorf("its addresses are %s", out)
	}
	if plan, _ := h.plan(t, six); len(plan.Steps) > 0 {
		t.Errorf("the second plan is\n%s", spelled(plan))
	}
	h.down(t)
	if d := diff(origin, dump(t)); d != "" {
		t.Errorf("down leaves\n%s", d)
	}
}

package linux_test

import (
	"net/netip"
	"strings"
	"testing"

	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/tunnel"
)

// prefixHub returns the view of a hub whose peers are within its own prefixes.
func prefixHub() *tunnel.View {
	v := &tunnel.View{
		Tunnel: "wg0", Host: "shale", PublicKey: applytest.PublicKey("shale"),
		PrivateKeyFile: "/etc/wireguard/wg0.key", ListenPort: 30567,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/16"), netip.MustParsePrefix("2001:db8:7767::1/64")},
	}
	allow(v, "basalt", "10.9.5.2/32", "2001:db8:7767::2/128", "10.9.6.0/24", "192.168.7.0/24", "192.168.7.9/32")
	return v
}

func allow(v *tunnel.View, name string, prefixes ...string) {
	p := tunnel.Peer{Name: name, PublicKey: applytest.PublicKey(name), Endpoint: "192.0.2.7:30567"}
	for _, text := range prefixes {
		prefix := netip.MustParsePrefix(text)
		p.AllowedIPs = append(p.AllowedIPs, prefix)
		v.Routes = append(v.Routes, tunnel.Route{Prefix: prefix, Peer: name})
	}
	v.Peers = append(v.Peers, p)
}

// static returns the routes that apply made.
func static(t *testing.T) string {
	t.Helper()
	out := run(t, "ip", "-4", "route", "show", "table", "all", "dev", "wg0", "proto", "static") +
		run(t, "ip", "-6", "route", "show", "table", "all", "dev", "wg0", "proto", "static")
	var prefixes []string
	for line := range strings.Lines(out) {
		prefixes = append(prefixes, strings.Fields(line)[0])
	}
	return strings.Join(prefixes, " ")
}

// leads fails the test for each address that the kernel does not route into the tunnel.
func leads(t *testing.T, addrs ...string) {
	t.Helper()
	for _, a := range addrs {
		if got := run(t, "ip", "route", "get", a); !strings.Contains(got, " dev wg0 ") {
			t.Errorf("%s goes elsewhere: %s", a, got)
		}
	}
}

// No route is added that the link's own prefix or a wider route covers, and the kernel
// still routes the addresses into the tunnel, even if another interface has part of the
// prefix, or somebody removed the covering route.
func TestCoveredRoutes(t *testing.T) {
	h := newHost(t)
	v := prefixHub()
	inside := []string{"10.9.5.2", "2001:db8:7767::2", "10.9.6.1", "192.168.7.1", "192.168.7.9"}
	applied := func(want string) {
		t.Helper()
		h.apply(t, v)
		if got := static(t); got != want {
			t.Errorf("the routes are %q, want %q", got, want)
		}
		leads(t, inside...)
		if again, _ := h.plan(t, v); len(again.Steps) > 0 {
			t.Errorf("the second plan is not empty:\n%s", spelled(again))
		}
	}
	applied("192.168.7.0/24")

	// A bridge of containers within the tunnel's prefix.
	run(t, "ip", "link", "add", "br0", "type", "veth", "peer", "name", "box0")
	run(t, "ip", "link", "set", "box0", "up")
	run(t, "ip", "link", "set", "br0", "up")
	run(t, "ip", "address", "add", "10.9.4.1/22", "dev", "br0") // 10.9.4.0 to 10.9.7.255
	applied("10.9.5.2 10.9.6.0/24 192.168.7.0/24")
	run(t, "ip", "link", "del", "br0")
	applied("192.168.7.0/24")

	run(t, "ip", "-4", "route", "del", "10.9.0.0/16", "dev", "wg0")
	applied("10.9.5.2 10.9.6.0/24 192.168.7.0/24")
	run(t, "ip", "-4", "route", "add", "10.9.0.0/16", "dev", "wg0", "proto", "kernel", "scope", "link", "src", "10.9.0.1")
	applied("192.168.7.0/24")
	h.down(t)
}

// A route that differs in more than its prefix is not covered.
func TestUncoveredRoutes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tunnel.View)
		want   string
	}{
		"metric": {func(v *tunnel.View) {
			for i := range v.Routes {
				v.Routes[i].Metric = 512
			}
		}, "10.9.5.2 10.9.6.0/24 192.168.7.0/24 2001:db8:7767::2"},
		"table": {func(v *tunnel.View) { v.Table = 7767 }, "10.9.5.2 10.9.6.0/24 192.168.7.0/24 2001:db8:7767::2"},
		"gateway": {func(v *tunnel.View) { v.Routes[3].Gateway = netip.MustParseAddr("10.9.5.2") },
			"192.168.7.0/24 192.168.7.9"},
		"another address": {func(v *tunnel.View) { v.Addresses[0] = netip.MustParsePrefix("10.9.0.1/32") },
			"10.9.5.2 10.9.6.0/24 192.168.7.0/24"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			v := prefixHub()
			h.apply(t, v)
			c.change(v)
			h.apply(t, v)
			if got := static(t); got != c.want {
				t.Errorf("the routes are %q, want %q", got, c.want)
			}
			if again, _ := h.plan(t, v); len(again.Steps) > 0 {
				t.Errorf("the second plan is not empty:\n%s", spelled(again))
			}
			h.down(t)
		})
	}
}

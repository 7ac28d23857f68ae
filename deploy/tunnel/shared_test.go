package tunnel_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

const sharedHub = `
[hosts.hub]
endpoint = "192.0.2.1"
addresses = ["10.9.0.1/24"]
routes = ["10.20.0.0/16"]
[hosts.a]
addresses = ["10.9.0.2/24"]
`

// TestShared: what one host wants for two tunnels is reported, and only that.
func TestShared(t *testing.T) {
	apart := strings.NewReplacer("10.9.0.", "10.9.1.", "10.20.", "10.21.", `endpoint = "192.0.2.1"`,
		`endpoint = "192.0.2.1"`+"\nlisten_port = 51821").Replace(sharedHub)
	for name, c := range map[string]struct {
		second string
		want   []string // "host: why", in part
	}{
		"apart": {apart, nil},
		"ports": {strings.Replace(apart, "listen_port = 51821\n", "", 1),
			[]string{"hub: port 51820, OUTSIDE, is already that of wg0"}},
		"the tunnel's port": {"listen_port = 51820\n" + strings.Replace(apart, "listen_port = 51821\n", "", 1),
			[]string{"hub: port 51820"}},
		"an address": {strings.Replace(apart, "10.9.1.2/24", "10.9.0.2/24", 1), []string{"a: address 10.9.0.2, INSIDE",
			"hub: a route to 10.9.0.2/32, INSIDE"}},
		"a network": {strings.Replace(apart, "10.9.1.2/24", "10.9.0.3/24", 1),
			[]string{"a: network 10.9.0.0/24, INSIDE"}},
		"a far end": {strings.Replace(apart, "10.9.1.2/24", "10.8.0.3 peer 10.9.0.77/24", 1),
			[]string{"a: network 10.9.0.0/24, INSIDE"}},
		"a prefix": {strings.Replace(apart, "10.21.", "10.20.", 1), []string{"a: a route to 10.20.0.0/16, INSIDE"}},
		"another metric": {strings.Replace(strings.Replace(apart, "10.21.", "10.20.", 1), "[hosts.a]",
			"[hosts.a]\nmetric = 512", 1), nil},
		"another table": {strings.Replace(strings.Replace(apart, "10.21.", "10.20.", 1), "[hosts.a]",
			"[hosts.a]\ntable = 512", 1), nil},
		"a key's file": {strings.Replace(apart, "[hosts.a]", "[hosts.a]\nprivate_key_file = \"/etc/wireguard/wg0.key\"", 1),
			[]string{"a: the key file /etc/wireguard/wg0.key is already that of wg0"}},
		"a preshared key's file": {"psk = true\n" + strings.Replace(apart, "[hosts.a]",
			"[hosts.a.peer.hub]\npsk_file = \"/etc/wireguard/wg0.key\"\n[hosts.a]", 1),
			[]string{"a: the key file /etc/wireguard/wg0.key is already that of wg0"}},
		"other hosts": {strings.NewReplacer("hosts.hub", "hosts.x", "hosts.a", "hosts.y").Replace(sharedHub), nil},
	} {
		t.Run(name, func(t *testing.T) {
			files := archiveFS("-- wg0.toml --" + sharedHub + "-- wg1.toml --\n" + c.second)
			found := tunnel.Shared([]*tunnel.Tunnel{parse(t, files, "wg0"), parse(t, files, "wg1")})
			var got []string
			for _, f := range found {
				got = append(got, f.Host+": "+f.Why)
				if f.Tunnel != "wg1" || f.File != "tunnels/wg1.toml" || f.Line == 0 || f.Hint == "" {
					t.Errorf("%+v", f)
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("found %q, want %q", got, c.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], c.want[i]) {
					t.Errorf("found %q, want %q", got[i], c.want[i])
				}
			}
		})
	}
	marks := strings.NewReplacer("[hosts.a]", "[hosts.a]\nfwmark = 7\ntable = 100").Replace
	files := archiveFS("-- wg0.toml --" + marks(sharedHub) + "-- wg1.toml --" + marks(apart))
	if found := tunnel.Shared([]*tunnel.Tunnel{parse(t, files, "wg0"), parse(t, files, "wg1")}); len(found) != 2 ||
		!strings.Contains(found[0].Why, "the mark 0x7") || !strings.Contains(found[1].Why, "routing table 100") {
		t.Errorf("found %v", found)
	}
}

// TestWithoutIPv6: a host with ipv6 = false has none of it in its view, and its peers
// none of it for that host; others are as they were.
func TestWithoutIPv6(t *testing.T) {
	text := `
[hosts.hub]
endpoint = "192.0.2.1"
addresses = ["10.9.0.1/24", "fd00:9::1/64"]
routes = ["::/0", "10.20.0.0/16"]
forward = true
[hosts.a]
ipv6 = IPV6
forward = true
addresses = ["10.9.0.2/24", "fd00:9::2/64"]
[hosts.b]
addresses = ["fd00:9::3/64"]
`
	views := func(ipv6 string) map[string]*tunnel.View {
		tun := parse(t, archiveFS("-- wg0.toml --"+strings.Replace(text, "IPV6", ipv6, 1)), "wg0")
		keys := map[string]keyring.PublicKey{"hub": {1}, "a": {2}, "b": {3}}
		all := map[string]*tunnel.View{}
		for name := range keys {
			v, err := tun.View(name, keys)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = v
		}
		return all
	}
	with, without := views("true"), views("false")
	for _, list := range [][]netip.Prefix{without["a"].Addresses, without["a"].Peers[0].AllowedIPs,
		allowedOf(without["hub"], "a")} {
		if len(list) == 0 {
			t.Error("IPv4 is gone as well")
		}
		for _, p := range list {
			if !p.Addr().Is4() {
				t.Errorf("%s is left", p)
			}
		}
	}
	for _, r := range without["a"].Routes {
		if !r.Prefix.Addr().Is4() {
			t.Errorf("route %s is left", r.Prefix)
		}
	}
	if without["a"].ForwardIPv6 || !without["a"].ForwardIPv4 || !with["a"].ForwardIPv6 || !without["hub"].ForwardIPv6 {
		t.Error("forwarding is of the wrong families")
	}
	if diff := cmp.Diff(with["b"], without["b"], cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("another host's view changes:\n%s", diff)
	}
	if len(allowedOf(with["hub"], "a")) != 2 {
		t.Errorf("with IPv6 the hub allows %v", allowedOf(with["hub"], "a"))
	}
}

func allowedOf(v *tunnel.View, peer string) []netip.Prefix {
	for _, p := range v.Peers {
		if p.Name == peer {
			return p.AllowedIPs
		}
	}
	return nil
}

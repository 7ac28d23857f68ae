package tunnel_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
)

// TestParseViewRefuses changes one thing at a time in a view that is valid.
func TestParseViewRefuses(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"older format", `"format": 1`, `"format": 0`, "format 0, want 1"},
		{"newer format", `"format": 1`, `"format": 2`, "format 2, want 1"},
		{"unknown key", `"forward": true`, `"backward": true`, `unknown field "backward"`},
		{"more after it", "\n}\n", "\n}\n{}", "more after it"},
		{"cut off", "\n}\n", "", "unexpected EOF"},
		{"name of the tunnel", `"wg0"`, `"../wg"`, "an interface's name"},
		{"name of the host", `"host": "gate"`, `"host": "-gate"`, "leading dash"},
		{"name of a peer", `"name": "phone"`, `"name": "a/b"`, "a host's name"},
		{"peer twice", `"name": "phone"`, `"name": "laptop"`, "the same name of a host"},
		{"own peer", `"name": "phone"`, `"name": "gate"`, "the same name of a host"},
		{"path", "/etc/wireguard/wg0.key", "/etc/wireguard/../shadow", "not an absolute path"},
		{"path of a psk", "/etc/wireguard/wg0.laptop.psk", "wg0.laptop.psk", "not an absolute path"},
		{"one file", "/etc/wireguard/wg0.laptop.psk", "/etc/wireguard/wg0.key", "the same key file"},
		{"listen port", "51900", "65536", "listen_port 65536"},
		{"fwmark", `"forward": true`, `"fwmark": 4294967296`, "fwmark"},
		{"mtu", `"forward": true`, `"mtu": 575`, "mtu 575"},
		{"table", `"forward": true`, `"table": -1`, "table -1"},
		{"local table", `"forward": true`, `"table": 255`, "the host's own addresses"},
		{"address", `"10.9.0.1/24"`, `"::ffff:10.9.0.1/120"`, "IPv4-mapped"},
		{"no address", `"10.9.0.1/24"`, `""`, "a prefix is missing"},
		{"address twice", `"2001:db8:9::1/64"`, `"10.9.0.1/16"`, "the same address"},
		{"uplink", `"forward": true`, `"masquerade_by": ["a b"]`, "no interface's name"},
		{"uplink twice", `"forward": true`, `"masquerade_by": ["eth0", "eth0"]`, "the same interface"},
		{"far end of nobody", `"forward": true`, `"remotes": {"10.9.0.1": "10.8.0.1/32"}`, "no single address"},
		{"far end without an address", `"forward": true`, `"remotes": {"": "10.8.0.1/32"}`, "address is missing"},
		{"allowed IP with host bits", `"10.9.0.3/32"`, `"10.9.0.3/24"`, "host bits"},
		{"allowed IP twice", `"10.9.0.3/32"`, `"10.9.0.2/32"`, "the same allowed IP"},
		{"endpoint without a port", `"name": "phone"`, `"name": "phone", "endpoint": "192.0.2.1"`, "no port"},
		{"endpoint twice", `"name": "phone"`, `"name": "phone", "endpoint": "a.example:1,a.example:1"`, "the same endpoint"},
		{"an empty endpoint", `"name": "phone"`, `"name": "phone", "endpoint": "a.example:1,"`, "the name of a host"},
		{"endpoint", `"name": "phone"`, `"name": "phone", "endpoint": "-x:1"`, "the name of a host"},
		{"keepalive", `"name": "phone"`, `"name": "phone", "keepalive": 65536`, "keepalive 65536"},
		{"route to nobody", `"peer": "phone"`, `"peer": "flint"`, "which is not a peer"},
		{"route with host bits", `"prefix": "10.9.0.3/32"`, `"prefix": "10.9.0.3/31"`, "host bits"},
		{"route twice", `"prefix": "10.9.0.3/32"`, `"prefix": "10.9.0.2/32"`, "the same route"},
		{"metric", `"prefix": "10.9.0.3/32"`, `"prefix": "10.9.0.3/32", "metric": -1`, "metric -1"},
		{"gateway's family", `"prefix": "10.9.0.3/32"`, `"prefix": "10.9.0.3/32", "gateway": "::1"`, "other family"},
		{"gateway's zone", `"prefix": "10.9.0.3/32"`, `"prefix": "10.9.0.3/32", "gateway": "fe80::1%x"`, "zone"},
		{"proxy", `"2001:db8:9::2"`, `"10.9.0.2"`, "no neighbour discovery"},
		{"reached through it", `"forward": true`, `"through": ["10.4.0.1/16"]`, "host bits"},
		{"reached through it twice", `"forward": true`, `"through": ["10.4.0.0/16", "10.4.0.0/16"]`,
			"the same prefix that is reached"},
		{"no proxy", `"2001:db8:9::2"`, `""`, "an IP address is missing"},
		{"proxy twice", `"2001:db8:9::2"`, `"2001:db8:9::3"`, "the same proxy"},
		{"sysctl", `"forward": true`, `"sysctls": {"kernel.hostname": "x"}`, "no sysctl of the network"},
		{"sysctl of forward", `"forward": true`, `"sysctls": {"net.ipv6.conf.all.forwarding": "1"}`, "belongs to forward"},
		{"sysctl's value", `"forward": true`, `"sysctls": {"net.core.x": "1\n2"}`, "cannot be printed"},
		{"sysctl twice", `"forward": true`, `"sysctls": {"net.core.x": "1", "net/core/x": "1"}`, "the same sysctl"},
	}
	tun := parse(t, os.DirFS("testdata/views/dual"), "wg0")
	v, err := tun.View("gate", publicKeys(t, tun.Hosts()))
	if err != nil {
		t.Fatal(err)
	}
	valid := string(encode(t, v))
	for _, test := range tests {
		if !strings.Contains(valid, test.old) {
			t.Fatalf("%s: the valid view has no %s", test.name, test.old)
		}
		_, err := tunnel.ParseView([]byte(strings.Replace(valid, test.old, test.new, 1)))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

// Public keys are taken away or doubled by name, since their spelling is opaque.
func TestParseViewKeys(t *testing.T) {
	tun := parse(t, os.DirFS("testdata/views/dual"), "wg0")
	keys := publicKeys(t, tun.Hosts())
	v, err := tun.View("gate", keys)
	if err != nil {
		t.Fatal(err)
	}
	valid := string(encode(t, v))
	key := func(host string) string {
		text, err := json.Marshal(keys[host])
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	zero := `"` + strings.Repeat("A", 43) + `="`
	for _, test := range []struct{ old, new, want string }{
		{key("phone"), key("laptop"), `the public key of "phone" is there twice`},
		{key("phone"), key("gate"), `the public key of "phone" is there twice`},
		{key("phone"), zero, `the all-zero key`},
		{`"public_key": ` + key("gate") + ",", "", `the host has no public key`},
		{`"public_key": ` + key("phone") + ",", "", `peer "phone" has no public key`},
	} {
		text := strings.Replace(valid, test.old, test.new, 1)
		if text == valid {
			t.Fatalf("the valid view has no %s", test.old)
		}
		if _, err := tunnel.ParseView([]byte(text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s for %s: got %v, want %q", test.new, test.old, err, test.want)
		}
	}
}

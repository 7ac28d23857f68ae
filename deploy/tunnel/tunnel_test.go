package tunnel_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

func TestMesh(t *testing.T) {
	tun := parse(t, os.DirFS("testdata/views/mesh"), "wg0")
	if diff := cmp.Diff([]string{"agate", "basalt", "flint", "shale", "slate"}, tun.Hosts()); diff != "" {
		t.Error(diff)
	}
	pairs := [][2]string{
		{"agate", "basalt"}, {"agate", "flint"}, {"agate", "shale"}, {"agate", "slate"},
		{"basalt", "flint"}, {"basalt", "shale"}, {"basalt", "slate"},
		{"flint", "shale"}, {"shale", "slate"},
	}
	if diff := cmp.Diff(pairs, tun.PSKPairs()); diff != "" {
		t.Errorf("all pairs but flint and slate (-want +got):\n%s", diff)
	}
	files, err := tun.KeyFiles("basalt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"wg0.key":       "/etc/wireguard/private",
		"wg0.agate.psk": "/etc/wireguard/wg0.agate.psk",
		"wg0.flint.psk": "/etc/wireguard/wg0.flint.psk",
		"wg0.shale.psk": "/etc/wireguard/wg0.shale.psk",
		"wg0.slate.psk": "/etc/wireguard/wg0.slate.psk",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
	if _, err := tun.KeyFiles("basal"); err == nil {
		t.Error("key files of a host that is not there")
	}
}

func TestSSH(t *testing.T) {
	tun := parse(t, os.DirFS("../../testdata/first-users/tunnels"), "wg0")
	if dest, explicit := tun.SSH("shale"); dest != "root@shale.example.net" || !explicit {
		t.Errorf("shale: %q, %v", dest, explicit)
	}
	if dest, explicit := tun.SSH("basalt"); dest != "basalt" || explicit {
		t.Errorf("basalt: %q, %v", dest, explicit)
	}
}

// Two hosts that nobody logs in to are not peers, whatever endpoints they have; what
// their peers share with them is made all the same.
func TestUnmanaged(t *testing.T) {
	tun := parse(t, os.DirFS("testdata/views/unmanaged"), "wg0")
	pairs := [][2]string{{"basalt", "server"}, {"phone", "server"}, {"server", "tablet"}}
	if diff := cmp.Diff(pairs, tun.PSKPairs()); diff != "" {
		t.Error(diff)
	}
	for host, want := range map[string]bool{"server": false, "phone": true, "relay": true, "nobody": false} {
		if got := tun.Unmanaged(host); got != want {
			t.Errorf("%s: unmanaged %v", host, got)
		}
		if err := tun.RequireManaged(host, "wgkeys show "+host); (err != nil) != want {
			t.Errorf("%s: %v", host, err)
		}
	}
	err := tun.RequireManaged("phone", "wgkeys show phone")
	want := []string{"wgkeys show phone; if it is to be managed, take that line out"}
	if diff := cmp.Diff(want, fault.Hints(err)); diff != "" || err.Error() !=
		`nobody logs in to host "phone": it has managed = false in tunnels/wg0.toml:17` {
		t.Errorf("%v %s", err, diff)
	}
}

// The rules of precedence: the pair, then the host, then the tunnel.
func TestPrecedence(t *testing.T) {
	tun := parse(t, archiveFS(`
-- wg0.toml --
listen_port = 1000
mtu = 1400
keepalive = 10
psk = true

[hosts.a]
endpoint = "192.0.2.1"

[hosts.b]
listen_port = 0
endpoint = "192.0.2.2:7"
mtu = 1300
keepalive = 20
psk = false

[hosts.b.peer.a]
endpoint = "192.0.2.9"
keepalive = 0

[hosts.c]
listen_port = 3000
psk = false

[hosts.a.peer.c]
psk = true
`), "wg0")
	keys := publicKeys(t, tun.Hosts())
	type entry struct {
		Endpoint, PSK string
		Keepalive     int
	}
	want := map[string]map[string]entry{
		"a": {"b": {"192.0.2.2:7", "", 10}, "c": {"", "/etc/wireguard/wg0.c.psk", 10}},
		"b": {"a": {"192.0.2.9:1000", "", 0}, "c": {"", "", 20}},
		"c": {"a": {"192.0.2.1:1000", "/etc/wireguard/wg0.a.psk", 10}, "b": {"192.0.2.2:7", "", 10}},
	}
	ports := map[string][2]int{"a": {1000, 1400}, "b": {0, 1300}, "c": {3000, 1400}}
	for host, peers := range want {
		v, err := tun.View(host, keys)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]entry{}
		for _, p := range v.Peers {
			got[p.Name] = entry{p.Endpoint, p.PresharedKeyFile, p.Keepalive}
		}
		if diff := cmp.Diff(peers, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", host, diff)
		}
		if got := [2]int{v.ListenPort, v.MTU}; got != ports[host] {
			t.Errorf("%s: listen port and mtu are %v, want %v", host, got, ports[host])
		}
	}
}

func TestSysctlPath(t *testing.T) {
	tests := map[string]string{
		"net.ipv6.conf.all.proxy_ndp":     "net/ipv6/conf/all/proxy_ndp",
		"net/ipv4/conf/wg0.1/rp_filter":   "net/ipv4/conf/wg0.1/rp_filter",
		"net.ipv4.conf.wg0/1.rp_filter":   "net/ipv4/conf/wg0.1/rp_filter",
		"net.core.rmem_max":               "net/core/rmem_max",
		"net.core":                        "",
		"":                                "",
		"net":                             "",
		"/net/core/rmem_max":              "",
		"net/core/rmem_max/":              "",
		"net//core/rmem_max":              "",
		"net.ipv4.//.rp_filter":           "",
		"net/ipv4/../../kernel/hostname":  "",
		"net.ipv4.conf.wg0 .rp_filter":    "",
		"net.ipv4.conf.wg0\x00.rp_filter": "",
		"kernel.core.pattern":             "",
	}
	for key, want := range tests {
		if got, err := tunnel.SysctlPath(key); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", key, got, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	names := map[string]bool{
		"wg0": true, "home-vpn_1.x+y=z": false, "home-vpn_1.x+y": true, "WG": true, "wg0.d": true,
		"": false, ".": false, "..": false, "all": false, "default": false, "lo": false, "-wg": false,
		"wg/0": false, "wg:0": false, "wg 0": false, "wg%d": false, "wg\n": false, "wgä": false,
		"wg0.next": false, "0123456789abcdef": false, "0123456789abcde": true,
	}
	for name, want := range names {
		if err := tunnel.CheckName(name); (err == nil) != want {
			t.Errorf("tunnel %q: %v", name, err)
		}
	}
}

// A thousand names are no hint.
func TestManyHosts(t *testing.T) {
	tun := parse(t, os.DirFS("testdata/views/mesh"), "wg0")
	_, err := tun.KeyFiles("nobody")
	if hints := fault.Hints(err); len(hints) != 1 || hints[0] != "name one of agate, basalt, flint, shale, slate" {
		t.Errorf("hints %q", hints)
	}
	text := "[hosts.hub]\nendpoint = \"192.0.2.1\"\n"
	for i := range 8 {
		text += fmt.Sprintf("[hosts.spoke-%d]\n", i)
	}
	_, err = parse(t, archiveFS("-- wg0.toml --\n"+text), "wg0").KeyFiles("nobody")
	if hints := fault.Hints(err); len(hints) != 1 ||
		hints[0] != "name one of the 9 hosts of tunnel wg0: grep hosts tunnels/wg0.toml" {
		t.Errorf("hints %q", hints)
	}
}

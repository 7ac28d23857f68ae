package tunnel_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"wgkeys/deploy/tunnel"
)

// TestRenameHost: a host gets another name wherever a file names it, and nothing else
// changes by a byte.
func TestRenameHost(t *testing.T) {
	main := "# alpha is at the provider\r\nlisten_port = 51820 # alpha's\n\n[hosts.alpha] # alpha\nssh = " +
		"\"root@alpha.example.net\"\nendpoint = \"alpha.example.net\"\n" +
		"addresses = [\"10.0.0.1/32\"]\n\n[ hosts . 'beta' ]\naddresses = [\"10.0.0.2/32\"]\npeers = [ 'alpha', # alpha\n " +
		"\"gamma\" ]\n[hosts.beta.peer.\"alpha\"]\nkeepalive = 25\n" +
		"[hosts.gamma]\nendpoint = \"192.0.2.3\"\naddresses = [\"10.0.0.3/32\"]\npeer = { alpha = { keepalive = 20 } }\n"
	dropin := "\xef\xbb\xbfhosts.alpha.mtu = 1400\nhosts.gamma.peer.beta.keepalive = 5\n"
	want := strings.NewReplacer("[hosts.alpha]", "[hosts.omega]", "'alpha'", "'omega'", `"alpha"]`, `"omega"]`,
		"{ alpha =", "{ omega =").Replace(main)
	fsys := fstest.MapFS{"wg0.toml": {Data: []byte(main)}, "wg0.d/1.toml": {Data: []byte(dropin)},
		"wg0.d/2.toml": {Data: []byte("mtu = 1390\n")}}
	got, err := tunnel.RenameHost(fsys, "wg0", "alpha", "omega")
	if err != nil || len(got) != 2 {
		t.Fatal(len(got), err)
	}
	if string(got[0].Text) != want || string(got[0].Was) != main || got[0].Path != "wg0.toml" {
		t.Errorf("%s\nwant\n%s", got[0].Text, want)
	}
	if string(got[1].Text) != strings.Replace(dropin, "alpha", "omega", 1) || got[1].Path != "wg0.d/1.toml" {
		t.Errorf("%q", got[1].Text)
	}
	if got, err := tunnel.RenameHost(fsys, "wg0", "delta", "omega"); err != nil || got != nil {
		t.Errorf("a host that is not there: %v, %v", got, err)
	}
	if _, err := tunnel.RenameHost(fsys, "wg0", "alpha", "gamma"); err == nil || !strings.Contains(err.Error(),
		`already that is named "gamma"`) {
		t.Errorf("a name that is taken: %v", err)
	}
	escaped := strings.Replace(main, `"alpha"]`, `"\u0061lpha"]`, 1)
	if _, err := tunnel.RenameHost(fstest.MapFS{"wg0.toml": {Data: []byte(escaped)}}, "wg0", "alpha",
		"omega"); err == nil || !strings.Contains(err.Error(), "spells alpha as") {
		t.Errorf("an escape: %v", err)
	}
}

// TestRenameInterface: the sysctls of the tunnel's interface get its name, and nothing
// else changes by a byte.
func TestRenameInterface(t *testing.T) {
	main := "# wg0\n[hosts.wg0] # net.ipv4.conf.wg0.mtu\naddresses = [\"10.0.0.1/32\"]\n[hosts.wg0.sysctls]\n" +
		"\"net.ipv4.conf.wg0.rp_filter\" = \"0\" # wg0's\n'net/ipv4/conf/wg0/mtu' = \"wg0\"\n\"net.ipv4.conf.wg01.mtu\" = " +
		"\"1\"\n"
	want := strings.NewReplacer("\"net.ipv4.conf.wg0.rp", "\"net.ipv4.conf.home.rp", "net/ipv4/conf/wg0/mtu",
		"net/ipv4/conf/home/mtu").Replace(main)
	got, err := tunnel.RenameInterface(fstest.MapFS{"wg0.toml": {Data: []byte(main)}}, "wg0", "home")
	if err != nil || len(got) != 1 || string(got[0].Text) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

package nixos

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// The modules, for a reviewer. UPDATE=1 writes them. TestManagersNix evaluates them.
func TestFormat(t *testing.T) {
	for name, v := range views() {
		files, err := Format(v, foreign.Secrets{})
		if err != nil {
			t.Fatal(err)
		}
		foreigntest.Golden(t, filepath.Join("testdata", name+".nix"), string(files[0].Text))
	}
}

// views returns the common views, and one with what none of them has.
func views() map[string]*tunnel.View {
	all := foreigntest.Views()
	hub := *all["server"]
	hub.Masquerade, hub.MasqueradeBy = []netip.Prefix{netip.MustParsePrefix("10.7.7.2/32")}, []string{"eth0"}
	hub.MasqueradeTunnel, hub.Isolate, hub.NoBoot = true, true, true
	hub.Proxies = []netip.Addr{netip.MustParseAddr("fd00:7::2")}
	hub.Sysctls = map[string]string{"net.ipv4.conf.wg0.rp_filter": "2"}
	hub.Remotes = map[netip.Addr]netip.Prefix{netip.MustParseAddr("10.9.9.1"): netip.MustParsePrefix("10.9.9.2/32")}
	hub.Addresses = append(hub.Addresses[:2:2], netip.MustParsePrefix("10.9.9.1/32"))
	all["hub"] = &hub
	return all
}

// No value ends the string that it is in.
func TestQuoted(t *testing.T) {
	for s, want := range map[string]string{
		`a"b`: `"a\"b"`, `a\b`: `"a\\b"`, "a${b}": `"a\${b}"`, "a\nb": `"a\nb"`, "$": `"$"`,
	} {
		if got := quoted(s); got != want {
			t.Errorf("%q: %s, not %s", s, got, want)
		}
	}
}

func TestFormatRefusesSecrets(t *testing.T) {
	key, err := keyring.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	files, err := Format(foreigntest.Views()["client"], foreign.Secrets{PrivateKey: key})
	if len(files) != 0 || err == nil || !strings.Contains(err.Error(), "Nix store") || len(fault.Hints(err)) == 0 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

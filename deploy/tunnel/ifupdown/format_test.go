package ifupdown

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
	"wgkeys/deploy/tunnel/wgquick"
	"wgkeys/keyring"
)

// views returns the views of package tunnel's golden tests, by "TUNNEL/HOST", and two with
// what none of these has.
func views(t *testing.T) map[string]*tunnel.View {
	t.Helper()
	all := map[string]*tunnel.View{}
	list, err := filepath.Glob("../testdata/views/*/*.json")
	if err != nil || len(list) == 0 {
		t.Fatalf("no views: %v", err)
	}
	for _, name := range list {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := tunnel.ParseView(text)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(filepath.Dir(name))+"/"+strings.TrimSuffix(filepath.Base(name), ".json")] = v
	}
	for name, v := range foreigntest.Views() {
		all["common/"+name] = v
	}
	v4 := *all["dual/laptop"]
	v4.Peers = slices.Clone(v4.Peers)
	v4.Peers[0].Endpoint = "gate.example.net:51900"
	v4.Addresses = v4.Addresses[:1]
	v4.MTU = 1400
	v4.DNS = []string{"10.9.0.1", "home.example"}
	v4.Sysctls = map[string]string{"net.ipv4.conf.wg0.rp_filter": "2", "net.core.rmem_max": "4194304",
		"net.ipv4.tcp_rmem": "4096 87380 6291456"}
	v4.Description = "the laptop's way home"
	v4.PrivateKeyFile = "/etc/wireguard/my key"
	all["more/name"] = &v4
	own := *all["dual/laptop"]
	own.Table, own.FwMark = 100, 0x20
	own.Routes = slices.Clone(own.Routes)
	own.Routes[0].Gateway, own.Routes[0].Metric = netip.MustParseAddr("10.9.0.1"), 7
	all["more/table"] = &own
	far := *all["common/client"]
	far.Tunnel, far.Addresses = "wg0", []netip.Prefix{netip.MustParsePrefix("10.7.7.2/32")}
	far.Remotes = map[netip.Addr]netip.Prefix{far.Addresses[0].Addr(): netip.MustParsePrefix("10.7.7.1/32")}
	all["more/far-end"] = &far
	hub := *all["dual/gate"]
	hub.MasqueradeBy, hub.MasqueradeTunnel, hub.Isolate, hub.NoBoot = []string{"eth0", "ppp0"}, true, true, true
	all["more/hub"] = &hub
	return all
}

// said returns the device that is equal to v.
func said(v *tunnel.View) foreign.Device {
	d := foreign.Device{Name: v.Tunnel, PrivateKeyFile: v.PrivateKeyFile, Conf: "/etc/wireguard/" + v.Tunnel + ".conf",
		MTU: v.MTU, DNS: v.DNS, Description: v.Description, Forward: v.Forward, Proxies: v.Proxies, Sysctls: v.Sysctls}
	for _, a := range v.Addresses {
		d.Addresses = append(d.Addresses, foreign.Address{Local: a, Remote: v.Remotes[a.Addr()]})
	}
	for _, r := range v.Routes {
		d.Routes = append(d.Routes, foreign.Route{Prefix: r.Prefix, Gateway: r.Gateway, Metric: r.Metric, Table: v.Table})
	}
	for _, p := range v.Peers {
		if p.PresharedKeyFile != "" {
			d.Peers = append(d.Peers, foreign.Peer{PublicKey: p.PublicKey, PresharedKeyFile: p.PresharedKeyFile})
		}
	}
	d.Masquerade = foreign.Masquerade{All: len(v.Masquerade) > 0 && len(v.MasqueradeBy) == 0, Tunnel: v.MasqueradeTunnel}
	if len(v.Masquerade) > 0 {
		d.Masquerade.Uplinks = v.MasqueradeBy
	}
	d.Isolate, d.Manual = v.Isolate, v.NoBoot
	return d
}

// What Format writes is parsed as the same, including the file for `wg setconf`.
func TestFormatParse(t *testing.T) {
	for name, v := range views(t) {
		files, err := Format(v, foreign.Secrets{})
		if err != nil {
			t.Fatal(err)
		}
		got := one(t, files[0])
		if diff := cmp.Diff(said(v), *got, same, cmpopts.IgnoreFields(foreign.Device{}, "Comment")); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", name, diff, files[0].Text)
		}
		conf, err := wgquick.Parse(files[1:])
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, files[1].Text)
		}
		if conf[0].ListenPort != v.ListenPort || conf[0].FwMark != v.FwMark || len(conf[0].Peers) != len(v.Peers) {
			t.Errorf("%s: %+v", name, conf[0])
		}
		for i, p := range conf[0].Peers {
			want := v.Peers[i]
			if p.PublicKey != want.PublicKey || p.Endpoint != want.Endpoint || p.Keepalive != want.Keepalive ||
				!slices.Equal(p.AllowedIPs, want.AllowedIPs) {
				t.Errorf("%s: %+v is not %+v", name, p, want)
			}
		}
	}
}

// The texts, for a reviewer. UPDATE=1 writes them.
func TestFormatText(t *testing.T) {
	all := views(t)
	for _, name := range []string{"first-users/shale", "first-users/basalt", "dual/gate", "dual/laptop", "more/name",
		"more/hub"} {
		files, err := Format(all[name], foreign.Secrets{})
		if err != nil {
			t.Fatal(err)
		}
		foreigntest.Golden(t, filepath.Join("testdata/format", strings.ReplaceAll(name, "/", "-")), string(files[0].Text))
	}
}

// With secrets, only the file for `wg setconf` has them, and no key file is named.
func TestFormatSecrets(t *testing.T) {
	private, err := keyring.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	psk, err := keyring.GeneratePresharedKey()
	if err != nil {
		t.Fatal(err)
	}
	v := views(t)["dual/laptop"]
	files, err := Format(v, foreign.Secrets{PrivateKey: private,
		PresharedKeys: map[string]keyring.PresharedKey{"gate": psk}})
	if err != nil {
		t.Fatal(err)
	}
	if s := string(files[0].Text); strings.Contains(s, ".key") || strings.Contains(s, ".psk") {
		t.Errorf("a key file is named:\n%s", s)
	}
	d, err := wgquick.Parse(files[1:])
	if err != nil {
		t.Fatal(err)
	}
	if d[0].PrivateKey.PublicKey() != private.PublicKey() || !d[0].Peers[0].PresharedKey.Equal(psk) {
		t.Error("these are not the keys")
	}
	if files[0].Mode != "0644" || files[1].Mode != "0600" {
		t.Errorf("modes %s, %s", files[0].Mode, files[1].Mode)
	}
}

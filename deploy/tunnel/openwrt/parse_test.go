package openwrt

import (
	"fmt"
	"testing"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
	"wgkeys/keyring/fault"
)

// Each file of the corpus, and one with every option, is parsed as the golden file beside
// it says.
func TestGolden(t *testing.T) { foreigntest.GoldenEach(t, Parse, "testdata/corpus", "testdata/more") }

const (
	private = "MK7Xl7LCrJnev5g0YDaPdcj3rCMoVHWfshXgr8Edx10="
	begin   = "config interface 'wg0'\n\toption proto 'wireguard'\n\toption private_key '" + private + "'\n"
	public  = "iyaM2uj/oizv4Z5VFBoSo0RTYfx09T3aqesBgDuFf2w="
	peer    = "config wireguard_wg0\n\toption public_key '" + public + "'\n"
)

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{begin + "\toption adresses '10.0.0.1/24'\n\tlist mtuu 3\n",
			[]string{"network:4", "did you mean addresses?", "network:5", "did you mean mtu?"}},
		{begin + "\toption mtu\n", []string{"network:4", "words"}},
		{begin + "\toption mtu 'x\n", []string{"network:4", "never closed"}},
		{begin + "\toptoin mtu 3\n", []string{"network:4", "did you mean option?"}},
		{begin + "\toption awg_jc '4'\n", []string{"network:4", "AmneziaWG"}},
		{"config interface a\n\toption proto amneziawg\n", []string{"network:1", "AmneziaWG"}},
		{"config interface a\n\toption proto dhcp\n", []string{"network:1", "proto 'wireguard'"}},
		{"option proto dhcp\n", []string{"network:1", "before every config"}},
		{"config interface wg0\n\toption proto wireguard\n", []string{"network:1", "no private key yet", "ifup wg0"}},
		{"config interface wg0\n\toption proto wireguard\n\toption private_key generate\n",
			[]string{"network:3", "ifup wg0"}},
		{begin + "config wireguard_wg1\n", []string{"network:4", "not here"}},
		{begin + peer + "\toption allowed_ips '10.0.0.0/33'\n", []string{"network:6", "10.0.0.0/33"}},
		{begin + peer + "\toption endpoint_host 'YOUR_SERVER'\n", []string{"network:6", "placeholder"}},
		{begin + "config route\n\toption interface wg0\n", []string{"network:4", "no target"}},
		{begin + "\toption mtu '" + private + "'\n\toption listen_port '<port>'\n\toption PrivateKey '" + private + "'\n",
			[]string{"network:4", "network:5", "network:6", "did you mean private_key?"}},
	} {
		_, err := Parse([]foreign.File{{Name: "network", Text: []byte(c.text)}})
		foreigntest.Refused(t, c.text, err, private, c.want)
	}
}

// TestAbove: an interface on top of the tunnel's gives it addresses and a gateway.
func TestAbove(t *testing.T) {
	const text = begin + peer + "\tlist allowed_ips '0.0.0.0/0'\n" +
		"config interface 'inside'\n\toption proto 'static'\n\toption device '@wg0'\n\toption ipaddr '10.0.1.2'\n" +
		"\toption netmask '255.255.255.0'\n\tlist ip6addr 'fd00::2/64'\n\toption gateway '10.0.1.1'\n\toption metric '10'\n" +
		"\toption ip6assign '64'\n" +
		"config interface 'other'\n\toption proto 'dhcp'\n\toption device 'wg0'\n" +
		"config interface 'lan'\n\toption proto 'static'\n\toption device 'br-lan'\n\toption ipaddr '192.168.1.1'\n"
	devices, err := Parse([]foreign.File{{Name: "network", Text: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	d := devices[0]
	got := fmt.Sprint(d.Addresses[0].Local, " ", d.Addresses[1].Local, " ", len(d.Addresses), d.Routes[0].Prefix,
		d.Routes[0].Gateway, d.Routes[0].Metric)
	if got != "10.0.1.2/24 fd00::2/64 2 0.0.0.0/0 10.0.1.1 10" {
		t.Error(got)
	}
	if len(d.Left) != 2 || d.Left[0].What != "ip6assign" || d.Left[1].What != "config interface" {
		t.Error(d.Left)
	}
}

// TestTables: a tunnel has one table for both families. One whose number only the router knows
// takes its routes with it, because in the main table they would take all packets.
func TestTables(t *testing.T) {
	for _, c := range []struct{ options, want string }{
		{"\toption ip4table 100\n\toption ip6table 100\n", "table 100, routed"},
		{"\toption ip4table main\n", "table 0, routed"},
		{"\toption ip4table 100\n", "table 100, routed, left network:4 ip4table"},
		{"\toption ip4table 100\n\toption ipv6 0\n", "table 100, routed"},
		{"\toption ip4table vpn\n", "table 0, route ::/0, left network:4 ip4table"},
		{"\toption ip4table vpn\n\toption ip6table vpn\n", "table 0, left network:4 ip4table, left network:5 ip6table"},
		{"config route\n\toption interface wg0\n\toption target 10.0.0.0/8\n\toption table vpn\n",
			"table 0, routed, left network:7 table"},
		{"config route\n\toption interface wg0\n\toption target 10.0.0.0/8\n\toption table default\n",
			"table 0, routed, route 10.0.0.0/8 table 253"},
		{"config wireguard_wg0\n\toption description new\n", "table 0, routed, left network:4 wireguard_wg0"},
		{"config device\n\toption name wg0\n\toption mtu 1400\n", "table 0, routed, left network:4 config device"},
		{"config route\n\toption interface wg0\n\toption target 0.0.0.0/0\n\toption table 100\n\toption gateway 0.0.0.0\n" +
			"config rule\n\toption src 10.7.0.0/24\n\toption lookup 100\n", "table 0, routed, route 0.0.0.0/0 table 100, left network:9 config rule"},
		{"\toption ip4table vpn\nconfig rule\n\toption lookup vpn\nconfig rule\n\toption lookup wan\n",
			"table 0, route ::/0, left network:5 config rule, left network:4 ip4table"},
		{"\toption tags vpn\n\toption multipath off\n", "table 0, routed, left network:4 tags, left network:5 multipath"},
	} {
		text := begin + c.options + peer + "\toption route_allowed_ips 1\n\tlist allowed_ips 0.0.0.0/0\n\tlist allowed_ips ::/0\n"
		devices, err := Parse([]foreign.File{{Name: "network", Text: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		d := devices[0]
		got := fmt.Sprint("table ", d.Table)
		if d.Peers[0].Routed {
			got += ", routed"
		}
		for _, r := range d.Routes {
			got += ", route " + r.Prefix.String()
			if r.Gateway.IsValid() {
				got += " via " + r.Gateway.String()
			}
			if r.Table != 0 {
				got += fmt.Sprint(" table ", r.Table)
			}
		}
		for _, l := range d.Left {
			got += fmt.Sprint(", left ", l.Pos.File, ":", l.Pos.Line, " ", l.What)
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.options, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	seeds := foreigntest.Files(f, "testdata")
	seeds = append(seeds, foreign.File{Text: []byte(begin + peer + "\tlist allowed_ips '10.0.0.2/32'\n")})
	none := func(*tunnel.View, foreign.Secrets) ([]foreign.File, error) {
		return nil, fault.New("not written", "openwrt", "it is only read", "")
	}
	foreigntest.Fuzz(f, seeds, "network", Parse, none)
}

package draft_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/draft"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
)

// device returns the interface of a host with a key of its own.
func device(t *testing.T, host string, addresses ...string) *foreign.Device {
	t.Helper()
	key, err := keyring.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	d := &foreign.Device{Pos: foreign.Pos{File: host + ".conf", Line: 1}, Name: "wg0", Host: host, PrivateKey: key}
	for _, a := range addresses {
		d.Addresses = append(d.Addresses, foreign.Address{Local: netip.MustParsePrefix(a)})
	}
	return d
}

// peer returns an entry for the interface of d.
func peer(d *foreign.Device, line int, allowed ...string) foreign.Peer {
	p := foreign.Peer{Pos: foreign.Pos{File: "of.conf", Line: line}, PublicKey: d.PrivateKey.PublicKey(), Routed: true}
	for _, a := range allowed {
		p.AllowedIPs = append(p.AllowedIPs, netip.MustParsePrefix(a))
	}
	return p
}

func left(d *draft.Draft) string {
	var lines []string
	for _, l := range d.Left {
		lines = append(lines, l.Pos.File+": "+l.What+": "+l.Why)
	}
	return strings.Join(lines, "\n")
}

// TestJoin: two hosts that have each other as peers make a tunnel without unmanaged hosts,
// and nothing is left out.
func TestJoin(t *testing.T) {
	hub, spoke := device(t, "hub", "10.0.0.1/24"), device(t, "spoke", "10.0.0.2/24")
	hub.ListenPort = 51820
	hub.Peers = []foreign.Peer{peer(spoke, 5, "10.0.0.2/32")}
	spoke.Peers = []foreign.Peer{peer(hub, 7, "10.0.0.0/24")}
	spoke.Peers[0].Endpoint = "hub.example.net:51820"
	d, err := draft.Make([]*foreign.Device{hub, spoke})
	if err != nil || len(d.Left) > 0 {
		t.Fatal(err, left(d))
	}
	if text := string(d.Text); strings.Contains(text, "managed") || strings.Contains(text, "reachable") ||
		!strings.Contains(text, `endpoint = "hub.example.net"`) {
		t.Error(text)
	}
}

// TestOneSided: if only one of two hosts has the other as a peer, they become peers, and
// that is reported.
func TestOneSided(t *testing.T) {
	hub, spoke := device(t, "hub", "10.0.0.1/24"), device(t, "spoke", "10.0.0.2/24")
	spoke.Peers = []foreign.Peer{peer(hub, 7, "10.0.0.0/24")}
	spoke.Peers[0].Endpoint = "hub.example.net:51820"
	d, err := draft.Make([]*foreign.Device{hub, spoke})
	if err != nil || !strings.Contains(left(d), "hub.conf: [Peer] spoke: it is not in this file") {
		t.Error(err, left(d))
	}
}

// TestOneKeyTwice: two hosts with one key, two files of one host, and two preshared keys of
// one pair are errors.
func TestOneKeyTwice(t *testing.T) {
	hub, spoke := device(t, "hub", "10.0.0.1/24"), device(t, "spoke", "10.0.0.2/24")
	same := *hub
	if _, err := draft.Make([]*foreign.Device{hub, &same}); err == nil ||
		!strings.Contains(err.Error(), "host hub has wg0 already") {
		t.Error(err)
	}
	same.Host = "other"
	if _, err := draft.Make([]*foreign.Device{hub, &same}); err == nil ||
		!strings.Contains(err.Error(), "two hosts with one private key") {
		t.Error(err)
	}
	hub.Peers, spoke.Peers = []foreign.Peer{peer(spoke, 5, "10.0.0.2/32")}, []foreign.Peer{peer(hub, 7, "10.0.0.1/32")}
	for _, p := range []*foreign.Peer{&hub.Peers[0], &spoke.Peers[0]} {
		var err error
		if p.PresharedKey, err = keyring.GeneratePresharedKey(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := draft.Make([]*foreign.Device{hub, spoke}); err == nil ||
		!strings.Contains(err.Error(), "two preshared keys of one pair of hosts") {
		t.Error(err)
	}
}

// TestNames: peers are named by the comments beside them, in the style of any program.
func TestNames(t *testing.T) {
	for _, test := range []struct {
		name, description string
		comments          []string
		endpoint, want    string
	}{
		{comments: []string{"phone"}, want: "phone"},
		{comments: []string{"Name = Anna's Laptop"}, want: "anna-s-laptop"},
		{comments: []string{"ID:  cv40", "Name:  SITE-REMOTE", "Email:"}, want: "site-remote"},
		{comments: []string{"begin ABC"}, want: "abc"},
		{comments: []string{"Client nas"}, want: "nas"},
		{comments: []string{"friendly_name=tv"}, want: "tv"},
		{comments: []string{"Name# = tv"}, want: "tv"}, // WGDashboard's
		{comments: []string{"key1:"}, want: "key1"},
		{comments: []string{"peer 7"}, want: "peer-7"},
		{comments: []string{"ip-172-31-5-9"}, want: "ip-172-31-5-9"},
		{comments: []string{"a--b_"}, want: "a--b_"},
		{comments: []string{"endpoint"}, endpoint: "hub.example.net:1", want: "hub"},
		{comments: []string{"a-name-of-a-host-that-is-longer-than-fifty-bytes-as-rfc-1035-has-it"},
			endpoint: "hub.example.net:1", want: "hub"},
		{comments: []string{"a-name-of-a-host-that-is-longer-than-fifty-bytes-of-63"},
			want: "a-name-of-a-host-that-is-longer-than-fifty-bytes-of-63"},
		{comments: []string{"Home server. Use keep alive behind NAT."}, endpoint: "hub.example.net:1", want: "hub"},
		{comments: []string{"Филиал 1.1"}, want: "filial-1-1"},
		{comments: []string{"分公司 1.1"}, want: "peer-10-0-0-9"},
		{name: "wgserver1", comments: []string{"other"}, want: "wgserver1"},
		{description: "the cellar", want: "the-cellar"},
		{want: "peer-10-0-0-9"},
		{comments: []string{"host"}, want: "host-2"},
		{comments: []string{"allow everything"}, want: "peer-10-0-0-9"},
		{comments: []string{"this is his public key", "Jürgens Büro"}, want: "jurgens-buro"},
		{comments: []string{"Client: Tom (8a3f5c1e-5b2f-4c43-9c36-aa10ffa1c8b7)"}, want: "tom"},
		{comments: []string{"tom begin"}, want: "tom"},
		{comments: []string{"west end"}, want: "west-end"},
	} {
		other := device(t, "other")
		host := device(t, "host", "10.0.0.1/24")
		host.ListenPort = 51820
		p := peer(other, 3, "10.0.0.9/32")
		p.Name, p.Description, p.Comment, p.Endpoint = test.name, test.description, test.comments, test.endpoint
		host.Peers = []foreign.Peer{p}
		d, err := draft.Make([]*foreign.Device{host})
		if err != nil {
			t.Error(test.comments, err)
		} else if !strings.Contains(string(d.Text), "[hosts."+test.want+"]\n") {
			t.Errorf("%q: no %s in\n%s", test.comments, test.want, d.Text)
		}
	}
}

// TestLeftOut: what other programs accept and a tunnel file does not is left out with its
// line, and the rest is written.
func TestLeftOut(t *testing.T) {
	hub, spoke, third := device(t, "hub", "10.0.0.1/24"), device(t, "spoke"), device(t, "third")
	at := func(line int) foreign.Pos { return foreign.Pos{File: "hub.conf", Line: line} }
	hub.ListenPort = 51820
	hub.MTU = 68
	hub.Mark("MTU", at(4))
	hub.Sysctls = map[string]string{"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv4.conf.wg0.rp_filter": "2"}
	hub.Mark("sysctls net.ipv6.conf.all.disable_ipv6", at(5))
	hub.PrivateKeyFile = "/etc/wireguard/../key"
	hub.Mark("private_key_file", at(6))
	hub.DNS = []string{"192.0.2.53", "no domain"}
	hub.Mark("DNS", at(7))
	hub.Peers = []foreign.Peer{peer(spoke, 8, "10.0.0.2/32"), peer(third, 12, "10.0.0.1/32")}
	hub.Peers[0].Endpoint, hub.Peers[0].EndpointAt = "0.0.0.0:51820", at(9)
	hub.Peers[1].AllowedAt = at(13)
	d, err := draft.Make([]*foreign.Device{hub})
	if err != nil {
		t.Fatal(err)
	}
	var lines []int
	for _, l := range d.Left {
		if l.Pos.File != "hub.conf" || strings.Contains(l.Why, "tunnels/") {
			t.Error(l)
		}
		lines = append(lines, l.Pos.Line)
	}
	if !slices.Equal(lines, []int{4, 5, 6, 7, 9, 13}) {
		t.Error(lines, left(d))
	}
	for _, want := range []string{`sysctls = { "net.ipv4.conf.wg0.rp_filter" = "2" }`, "listen_port = 51820",
		`addresses = ["10.0.0.2"]`} {
		if !strings.Contains(string(d.Text), want+"\n") {
			t.Errorf("no %s in\n%s", want, d.Text)
		}
	}
}

// TestLeftOutRoutes: routes that cannot be expressed are not replaced by one for each
// allowed IP.
func TestLeftOutRoutes(t *testing.T) {
	hub, spoke := device(t, "hub", "10.0.0.1/24"), device(t, "spoke")
	hub.ListenPort, hub.Table = 51820, 255
	hub.Mark("Table", foreign.Pos{File: "hub.conf", Line: 4})
	hub.Peers = []foreign.Peer{peer(spoke, 8, "0.0.0.0/0")}
	d, err := draft.Make([]*foreign.Device{hub})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(d.Text), "table = \"off\"\n") || !strings.HasPrefix(left(d), "hub.conf: table: ") {
		t.Errorf("%s\n%s", left(d), d.Text)
	}
}

// TestMute: a peer without an endpoint, of a host with a random port, is left out with its
// preshared key, because the two could never reach each other.
func TestMute(t *testing.T) {
	hub, server, phone := device(t, "hub", "10.0.0.2/32"), device(t, "server"), device(t, "phone")
	hub.Peers = []foreign.Peer{peer(server, 8, "10.0.0.1/32"), peer(phone, 12, "10.0.0.3/32")}
	hub.Peers[0].Endpoint = "192.0.2.1:51820"
	var err error
	if hub.Peers[1].PresharedKey, err = keyring.GeneratePresharedKey(); err != nil {
		t.Fatal(err)
	}
	d, err := draft.Make([]*foreign.Device{hub})
	if err != nil || len(d.Hosts) != 2 || len(d.Pairs) != 0 ||
		!strings.Contains(left(d), "[Peer] peer-10-0-0-3: it has no Endpoint") {
		t.Error(err, left(d), d.Hosts, d.Pairs)
	}
}

// TestUnmet: two hosts of a mesh that only connect to others are no peers of each other.
func TestUnmet(t *testing.T) {
	hub, a, b := device(t, "hub", "10.0.0.1/32"), device(t, "a", "10.0.0.2/32"), device(t, "b", "10.0.0.3/32")
	hub.ListenPort = 51820
	hub.Peers = []foreign.Peer{peer(a, 8, "10.0.0.2/32"), peer(b, 12, "10.0.0.3/32")}
	for d, other := range map[*foreign.Device]*foreign.Device{a: b, b: a} {
		d.Peers = []foreign.Peer{peer(hub, 18, "10.0.0.1/32"), peer(other, 22, other.Addresses[0].Local.String())}
		d.Peers[0].Endpoint = "192.0.2.1:51820"
	}
	d, err := draft.Make([]*foreign.Device{hub, a, b})
	if err != nil || len(d.Left) != 2 || strings.Count(left(d), "neither of the two has an Endpoint") != 2 ||
		strings.Contains(string(d.Text), "peer.") {
		t.Errorf("%v\n%v", err, d)
	}
	a.Peers, b.Peers = a.Peers[1:], b.Peers[1:]
	if _, err := draft.Make([]*foreign.Device{a, b}); err == nil ||
		!strings.Contains(err.Error(), "no file has an Endpoint for it") {
		t.Error(err)
	}
}

// TestLeftOutEndpoint: if the endpoint of a peer is left out, the peer connects to the
// host, if that is reachable. An address with a zone is such an endpoint.
func TestLeftOutEndpoint(t *testing.T) {
	for _, endpoint := range []string{"0.0.0.0:51820", "10.0.0.2:51820", "[fe80::1%eth0]:51820", "224.0.0.1:7"} {
		hub, spoke := device(t, "hub", "10.0.0.1/24"), device(t, "spoke")
		hub.ListenPort = 51820
		hub.Peers = []foreign.Peer{peer(spoke, 8, "10.0.0.2/32")}
		r := &foreign.Reader{}
		hub.Peers[0].EndpointAt = foreign.Pos{File: "hub.conf", Line: 9}
		hub.Peers[0].Endpoint = r.Endpoint(hub.Peers[0].EndpointAt, "Endpoint", endpoint)
		d, err := draft.Make([]*foreign.Device{hub})
		if err != nil || r.Err() != nil || len(d.Left) != 1 || d.Left[0].Pos.Line != 9 ||
			!strings.Contains(string(d.Text), "reachable = true") || strings.Contains(string(d.Text), "endpoint") {
			t.Errorf("%s: %v, %v, %s", endpoint, err, r.Err(), left(d))
		}
	}
}

// TestNamesCollide: if two hosts get the same name, one gets a number and both keep what
// they were called as their description. With many, the numbers go on.
func TestNamesCollide(t *testing.T) {
	const peers = 3000
	other, host := device(t, "other"), device(t, "host", "10.0.0.1/8")
	host.ListenPort = 51820
	for i := range peers {
		p := peer(other, 3, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).String()+"/32")
		p.PublicKey[1], p.PublicKey[2] = byte(i), byte(i>>8)
		p.Comment = []string{[]string{"André", "ANDRE", "Андре", "andre-2"}[i%4]}
		host.Peers = append(host.Peers, p)
	}
	d, err := draft.Make([]*foreign.Device{host})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"[hosts.andre]\ndescription = \"André\"\n", "[hosts.andre-2]\nmanaged",
		"[hosts.andre-3]\ndescription = \"Андре\"\n", "[hosts.andre-2-2]\nmanaged"} {
		if !strings.Contains(string(d.Text), want) {
			t.Errorf("no %q in\n%.1000s", want, d.Text)
		}
	}
	names := map[string]bool{}
	for _, h := range d.Hosts {
		names[h.Name] = true
	}
	if len(names) != peers+1 {
		t.Errorf("%d names", len(names))
	}
}

// TestLeftOutPair: if all lines of a pair are left out, so is its table, and the rest
// stays.
func TestLeftOutPair(t *testing.T) {
	hub, spoke, other := device(t, "hub", "10.0.0.1/24"), device(t, "spoke"), device(t, "other")
	hub.ListenPort = 51820
	hub.Peers = []foreign.Peer{peer(spoke, 5, "10.0.0.2/32"), peer(other, 9, "10.0.0.3/32")}
	hub.Peers[0].Comment, hub.Peers[1].Comment = []string{"spoke"}, []string{"other"}
	hub.Peers[0].PresharedKeyFile, hub.Peers[1].PresharedKeyFile = "keys/spoke.psk", "keys/other.psk"
	hub.Peers[1].Keepalive = 25
	d, err := draft.Make([]*foreign.Device{hub})
	if err != nil || len(d.Left) != 2 || !strings.Contains(left(d), "of.conf: psk_file: ") {
		t.Fatal(err, left(d))
	}
	const want = `psk = true

[hosts.hub]
reachable = true
listen_port = 51820
addresses = ["10.0.0.1/24"]

[hosts.hub.peer.other]
keepalive = 25

[hosts.other]
`
	if text := string(d.Text); !strings.HasPrefix(text, want) {
		t.Error(text)
	}
}

// TestLeftOutAddress: of an address with two lengths the shorter prefix stays, and the
// other one is left out with its line.
func TestLeftOutAddress(t *testing.T) {
	hub, spoke := device(t, "hub", "10.0.0.1/32", "10.0.0.1/24", "10.1.0.1/24", "10.1.0.1/24"), device(t, "spoke")
	hub.ListenPort = 51820
	hub.Addresses[0].Pos = foreign.Pos{File: "hub.conf", Line: 4}
	hub.Peers = []foreign.Peer{peer(spoke, 5, "10.0.0.2/32")}
	d, err := draft.Make([]*foreign.Device{hub})
	if err != nil || len(d.Left) != 1 || d.Left[0].Pos.Line != 4 || d.Left[0].What != "Address 10.0.0.1/32" {
		t.Fatal(err, left(d))
	}
	if want := `addresses = ["10.0.0.1/24", "10.1.0.1/24"]`; !strings.Contains(string(d.Text), want) {
		t.Error(string(d.Text))
	}
}

// TestOtherRoutes: a host's routes have one table and next hop. A route in another table is
// left out, since it would take more packets in theirs; a next hop is written only of
// routes that are, and where that gives a route another next hop, the report says so.
func TestOtherRoutes(t *testing.T) {
	route := func(line int, to, via string, table int) foreign.Route {
		r := foreign.Route{Pos: foreign.Pos{File: "hub.conf", Line: line}, Prefix: netip.MustParsePrefix(to), Table: table}
		if via != "" {
			r.Gateway = netip.MustParseAddr(via)
		}
		return r
	}
	for _, test := range []struct {
		name   string
		routes []foreign.Route
		left   string
		text   []string // lines that the tunnel file has
		no     string   // what no line has
	}{
		{"another table", []foreign.Route{route(3, "10.1.0.0/24", "", 0), route(4, "10.2.0.0/24", "", 77)},
			"hub.conf: route 10.2.0.0/24: it is in table 77, and a host's routes are in one table: here in the main table",
			[]string{`routes = ["10.1.0.0/24"]`}, "10.2.0.0/24"},
		{"main table", []foreign.Route{route(3, "10.1.0.0/24", "", 254), route(4, "10.2.0.0/24", "", 0)}, "",
			[]string{`routes = ["10.1.0.0/24", "10.2.0.0/24"]`}, "table"},
		{"first that is taken", []foreign.Route{route(3, "192.0.2.0/24", "", 5), route(4, "10.2.0.0/24", "", 77)},
			"hub.conf: route 192.0.2.0/24: no peer accepts what goes there: write it into AllowedIPs of one",
			[]string{"table = 77", `routes = ["10.2.0.0/24"]`}, "192.0.2.0/24"},
		{"next hop of a route that is left out",
			[]foreign.Route{route(3, "0.0.0.0/0", "10.0.0.2", 0), route(4, "10.2.0.0/24", "", 0)},
			"hub.conf: route 0.0.0.0/0: no peer accepts what goes there: write it into AllowedIPs of one",
			[]string{`routes = ["10.2.0.0/24"]`}, "gateway"},
		{"next hop of one", []foreign.Route{route(3, "10.1.0.0/24", "", 0), route(4, "10.2.0.0/24", "10.0.0.2", 0)},
			"hub.conf: gateway of route 10.1.0.0/24: a host's routes to a peer have one next hop, and this one has 10.0.0.2",
			[]string{`gateway = "10.0.0.2"`, `routes = ["10.1.0.0/24", "10.2.0.0/24"]`}, ""},
		{"network of an address", []foreign.Route{route(3, "10.0.0.0/24", "", 0), route(4, "10.1.0.0/24", "", 0)}, "",
			[]string{`routes = ["10.1.0.0/24"]`}, "10.0.0.0"},
		{"next hop to the network of an address", []foreign.Route{route(3, "10.0.0.0/24", "10.0.0.2", 0),
			route(4, "10.1.0.0/24", "", 0)},
			"hub.conf: route 10.0.0.0/24: it is the network of an address, to which the kernel makes a route",
			[]string{`routes = ["10.1.0.0/24"]`}, "gateway"},
		{"next hop of an address", []foreign.Route{route(3, "10.1.0.0/24", "", 0), route(4, "10.2.0.9/32", "10.0.0.2", 0)},
			"hub.conf: gateway of route 10.2.0.9/32: a host's routes to a peer have one next hop, and this one has none",
			[]string{`routes = ["10.1.0.0/24", "10.2.0.9/32"]`}, "gateway"},
	} {
		hub, spoke := device(t, "hub", "10.0.0.1/24"), device(t, "spoke", "10.0.0.2/24")
		hub.Peers = []foreign.Peer{peer(spoke, 5, "10.0.0.2/32", "10.1.0.0/16", "10.2.0.0/16")}
		hub.Peers[0].Routed, hub.Peers[0].Endpoint = false, "192.0.2.2:51820"
		hub.Routes = test.routes
		d, err := draft.Make([]*foreign.Device{hub})
		if err != nil || left(d) != test.left {
			t.Errorf("%s: %v\n%s", test.name, err, left(d))
			continue
		}
		lines := strings.Split(string(d.Text), "\n")
		for _, want := range test.text {
			if !slices.Contains(lines, want) {
				t.Errorf("%s: no %s in\n%s", test.name, want, d.Text)
			}
		}
		if test.no != "" && strings.Contains(string(d.Text), test.no) {
			t.Errorf("%s: %s in\n%s", test.name, test.no, d.Text)
		}
	}
}

// TestSource: a route from the only address of its family says nothing that the kernel does not
// do by itself.
func TestSource(t *testing.T) {
	for _, test := range []struct {
		addresses []string
		source    string
		left      bool
	}{
		{[]string{"10.0.0.1/24"}, "10.0.0.1", false}, {[]string{"10.0.0.1/24", "fd00::1/64"}, "10.0.0.1", false},
		{[]string{"10.0.0.1/24", "10.9.0.1/24"}, "10.9.0.1", true}, {[]string{"10.0.0.1/24"}, "192.168.1.1", true},
		{[]string{"10.0.0.1/24"}, "", true},
	} {
		hub, spoke := device(t, "hub", test.addresses...), device(t, "spoke", "10.0.0.2/24")
		hub.Peers = []foreign.Peer{peer(spoke, 5, "10.0.0.2/32", "10.1.0.0/16")}
		hub.Peers[0].Routed, hub.Peers[0].Endpoint = false, "192.0.2.2:51820"
		at := foreign.Pos{File: "hub.conf", Line: 7}
		source := foreign.Source{Left: foreign.Left{Pos: at, What: "src", Why: "it cannot be said"}}
		source.Addr, _ = netip.ParseAddr(test.source)
		hub.Routes = []foreign.Route{{Pos: at, Prefix: netip.MustParsePrefix("10.1.0.0/16"), Source: source}}
		want := ""
		if test.left {
			want = "hub.conf: src: it cannot be said"
		}
		if d, err := draft.Make([]*foreign.Device{hub}); err != nil || left(d) != want {
			t.Errorf("%v: %v %q", test, err, left(d))
		}
	}
}

// TestFarEnd: the kernel makes the route to the far end of an address, so a tunnel whose program
// makes none is the usual one.
func TestFarEnd(t *testing.T) {
	hub, spoke := device(t, "hub", "10.0.0.1/32"), device(t, "spoke", "10.0.0.2/32")
	hub.Addresses[0].Remote = netip.MustParsePrefix("10.0.0.2/32")
	hub.Peers = []foreign.Peer{peer(spoke, 5, "10.0.0.2/32")}
	hub.Peers[0].Routed, hub.Peers[0].Endpoint = false, "192.0.2.2:51820"
	d, err := draft.Make([]*foreign.Device{hub})
	if err != nil || strings.Contains(string(d.Text), "table") {
		t.Errorf("%v\n%s", err, d.Text)
	}
}

// TestMetricOfDefault: a default route in which an endpoint may lie gets a table of its own,
// whatever its metric, which is reported.
func TestMetricOfDefault(t *testing.T) {
	for _, test := range []struct {
		endpoint string
		table    int
		reported bool
	}{
		{"192.0.2.2:51820", 0, true}, {"hub.example.net:51820", 0, true}, {"[2001:db8::2]:51820", 0, false},
		{"192.0.2.2:51820", 7, false},
	} {
		hub, spoke := device(t, "hub", "10.0.0.1/24"), device(t, "spoke", "10.0.0.2/24")
		hub.Peers = []foreign.Peer{peer(spoke, 5, "0.0.0.0/0")}
		hub.Peers[0].Endpoint, hub.Metric, hub.Table = test.endpoint, 500, test.table
		d, err := draft.Make([]*foreign.Device{hub})
		if err != nil || strings.HasPrefix(left(d), "of.conf: metric of route 0.0.0.0/0: an endpoint may lie in it") != test.reported {
			t.Errorf("%v: %v %s", test, err, left(d))
		}
	}
}

package ifupdown

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
)

// same compares devices without the places of their settings.
var same = cmp.Options{
	cmpopts.IgnoreFields(foreign.Device{}, "Between", "Lines"),
	cmpopts.IgnoreTypes(foreign.Pos{}),
	cmpopts.IgnoreFields(foreign.Masquerade{}, "Rules"),
	cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}, keyring.PublicKey{}),
	cmp.Comparer(func(a, b keyring.PrivateKey) bool { return a.IsZero() == b.IsZero() }),
	cmp.Comparer(func(a, b keyring.PresharedKey) bool { return a.Equal(b) || a.IsZero() && b.IsZero() }),
}

// readFile returns a file for Parse under its name on the host.
func readFile(t *testing.T, root, name string) foreign.File {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return foreign.File{Name: name, Text: text}
}

func text(s string) foreign.File { return foreign.File{Name: "interfaces", Text: []byte(s)} }

// one parses files that describe one device.
func one(t *testing.T, files ...foreign.File) *foreign.Device {
	t.Helper()
	devices, err := Parse(files)
	if err != nil {
		t.Fatal(err)
	}
	if len(devices) != 1 {
		t.Fatalf("%d devices", len(devices))
	}
	return devices[0]
}

const peerKey = "iyaM2uj/oizv4Z5VFBoSo0RTYfx09T3aqesBgDuFf2w="

func publicKey(s string) keyring.PublicKey {
	k, err := keyring.ParsePublicKey([]byte(s))
	if err != nil {
		panic(err)
	}
	return k
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func local(s string) foreign.Address { return foreign.Address{Local: prefix(s)} }

func TestCorpus(t *testing.T) {
	for _, c := range []struct {
		file string
		want foreign.Device
	}{
		{"001-delegated-prefix/interfaces.d-wg1", foreign.Device{
			Name: "wg1", Conf: "/etc/wireguard/wg1.conf", Forward: true,
			Addresses: []foreign.Address{local("2001:db8:accd:1::1/64")},
			Routes:    []foreign.Route{{Prefix: prefix("2001:db8:accd:100::/56")}},
		}},
		{"004-unnumbered-manual/interfaces.d-fab1.conf", foreign.Device{
			Name: "fab1", Conf: "/etc/wireguard/fab1.conf", MTU: 1420,
			Comment: []string{
				"Unnumbered fabric link (RFC 5549): no global address at all, only a",
				"deterministic link-local (fe80::<host id>) the BGP session runs on.",
				"`inet manual` because `inet static` refuses to parse without an",
				"address -- but manual applies no mtu and does not bring the link up,",
				"so both happen explicitly below.",
			},
			Addresses: []foreign.Address{local("fe80::7/64")},
		}},
		{"007-numbered-slash31/interfaces.d-wg2.conf", foreign.Device{
			Name: "wg2", Conf: "/etc/wireguard/wg2.conf", MTU: 1420,
			Addresses: []foreign.Address{local("10.64.0.4/31")},
		}},
	} {
		got := one(t, readFile(t, "testdata/corpus", c.file))
		if diff := cmp.Diff(c.want, *got, same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.file, diff)
		}
	}
}

const firstUsers = "../../../testdata/first-users/ifupdown"

// The stanzas of the first users' two hosts are read completely. Shale keeps its router
// advertisements because of forward; basalt's address has no length.
func TestFirstUsers(t *testing.T) {
	for host, want := range map[string]foreign.Device{
		"shale": {
			Name: "wg0", Conf: "/etc/wireguard/wg0.conf", Forward: true,
			Routes: []foreign.Route{{Prefix: prefix("2001:db8:7767::2/128")}},
		},
		"basalt": {
			Name: "wg0", Conf: "/etc/wireguard/wg0.conf",
			Addresses: []foreign.Address{local("2001:db8:7767::2/128")},
			Routes:    []foreign.Route{{Prefix: prefix("::/0")}},
		},
	} {
		got := one(t, readFile(t, filepath.Join(firstUsers, host), "etc/network/interfaces.d/wg0"))
		if len(got.Comment) == 0 || strings.Contains(strings.Join(got.Comment, " "), "#") {
			t.Errorf("%s: comments: %q", host, got.Comment)
		}
		if diff := cmp.Diff(want, *got, same, cmpopts.IgnoreFields(foreign.Device{}, "Comment")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", host, diff)
		}
	}
}

// Where the provider has the prefix on-link, two lines that are comments at shale are in
// use: the neighbour proxy.
func TestNeighbourProxy(t *testing.T) {
	f := readFile(t, filepath.Join(firstUsers, "shale"), "etc/network/interfaces.d/wg0")
	f.Text = []byte(strings.ReplaceAll(string(f.Text), "#up ", "up "))
	got := one(t, f)
	want := []netip.Addr{netip.MustParseAddr("2001:db8:7767::2")}
	if diff := cmp.Diff(want, got.Proxies, same); diff != "" || len(got.Left) > 0 || len(got.Sysctls) > 0 {
		t.Errorf("%s%+v %v", diff, got.Left, got.Sysctls)
	}
}

// Addresses as recorded from `ifup --no-act -v` of ifupdown 0.8.41 and from ifupdown-ng
// 0.12.
func TestAddress(t *testing.T) {
	const hook = "\n\tpre-up ip link add $IFACE type wireguard\n"
	for _, c := range []struct{ stanza, want string }{
		{"iface w inet6 static\n\taddress 2001:db8::2", "2001:db8::2/128"},
		{"iface w inet6 static\n\taddress 2001:db8::2/64", "2001:db8::2/64"},
		{"iface w inet6 static\n\taddress 2001:db8::2\n\tnetmask 64", "2001:db8::2/64"},
		{"iface w inet6 static\n\tnetmask 64\n\taddress 2001:db8::2/80", "2001:db8::2/64"},
		{"iface w inet static\n\taddress 10.1.2.3", "10.1.2.3/8"},
		{"iface w inet static\n\taddress 172.16.1.2", "172.16.1.2/16"},
		{"iface w inet static\n\taddress 192.168.1.5", "192.168.1.5/24"},
		{"iface w inet static\n\taddress 224.1.2.5", "224.1.2.5/32"},
		{"iface w inet static\n\taddress 172.16.1.2/24\n\tnetmask 255.255.0.0", "172.16.1.2/16"},
		{"iface w inet static\n\taddress 10.0.0.1\n\tnetmask 24", "10.0.0.1/24"},
		{"iface w inet static\n\taddress 10.0.0.1/255.255.255.252", "10.0.0.1/30"},
		{"iface w\n\tuse wireguard\n\taddress 2001:db8::2", "2001:db8::2/64"},
		{"iface w\n\tuse wireguard\n\taddress 10.1.2.3", "10.1.2.3/24"},
		{"iface w\n\tuse wireguard\n\taddress 10.1.2.3/30\n\tnetmask 255.0.0.0", "10.1.2.3/30"},
		{"iface w\n\tuse wireguard\n\taddress 10.1.2.3\n\tnetmask 255.0.0.0", "10.1.2.3/8"},
	} {
		got := one(t, text(c.stanza+hook))
		if diff := cmp.Diff([]foreign.Address{local(c.want)}, got.Addresses, same); diff != "" {
			t.Errorf("%s:\n%s", c.stanza, diff)
		}
	}
}

// The meaning of each option.
func TestWords(t *testing.T) {
	const begin = "auto w\niface w inet static\n\taddress 10.0.0.1/24\n\tpre-up ip link add $IFACE type wireguard\n"
	addr := []foreign.Address{local("10.0.0.1/24")}
	everything := prefix("0.0.0.0/0")
	for _, c := range []struct {
		name, text string
		want       foreign.Device
	}{
		{"several stanzas", begin + "iface w inet6 static\n\taddress 2001:db8::1/64\n\tgateway 2001:db8::9\n\tmetric 5\n",
			foreign.Device{Addresses: append(addr[:1:1], local("2001:db8::1/64")),
				Routes: []foreign.Route{{Prefix: prefix("::/0"), Gateway: netip.MustParseAddr("2001:db8::9"), Metric: 5}}}},
		{"gateway", begin + "\tgateway 10.0.0.9\n\tmetric 5\n", foreign.Device{Addresses: addr,
			Routes: []foreign.Route{{Prefix: everything, Gateway: netip.MustParseAddr("10.0.0.9"), Metric: 5}}}},
		{"point to point", begin + "\tpointopoint 10.0.0.9\n", foreign.Device{
			Addresses: []foreign.Address{{Local: prefix("10.0.0.1/32"), Remote: prefix("10.0.0.9/32")}}}},
		{"MTU of the link", begin + "\tmtu 1400\n", foreign.Device{Addresses: addr, MTU: 1400}},
		{"MTU of IPv6 alone", begin + "iface w inet6 manual\n\tmtu 1400\n", foreign.Device{Addresses: addr,
			Sysctls: map[string]string{"net.ipv6.conf.w.mtu": "1400"}}},
		{"MTU above the link's", begin + "iface w inet6 manual\n\tmtu 1440\n", foreign.Device{Addresses: addr, MTU: 1440}},
		{"manual", strings.TrimPrefix(begin, "auto w\n"), foreign.Device{Addresses: addr, Manual: true}},
		{"description", begin + "\tdescription the way home\n", foreign.Device{Addresses: addr,
			Description: "the way home"}},
		{"resolvers", begin + "\tdns-nameservers 10.0.0.9 10.0.0.10\n\tdns-search home.example\n", foreign.Device{
			Addresses: addr, DNS: []string{"10.0.0.9", "10.0.0.10", "home.example"}}},
		{"continued line", begin + "\tup ip route add \\\n   10.7.0.0/16 dev w\n", foreign.Device{Addresses: addr,
			Routes: []foreign.Route{{Prefix: prefix("10.7.0.0/16")}}}},
		{"comment that continues nothing", begin + "# a \\\n\tmtu 1400\n", foreign.Device{Addresses: addr, MTU: 1400,
			Comment: []string{`a \`}}},
		{"CR LF", strings.ReplaceAll(begin+"\tmtu 1400\n", "\n", "\r\n"), foreign.Device{Addresses: addr, MTU: 1400}},
		{"others", "iface lo inet loopback\n\tnonsense x\n\n" + begin +
			"mapping eth*\n\tscript s\n\tmap x\niface eth0 inet dhcp\n",
			foreign.Device{Addresses: addr}},
		{"inherits", "iface base inet static\n\tmtu 1400\n" + strings.Replace(begin, "static", "static inherits base", 1),
			foreign.Device{Addresses: addr, MTU: 1400}},
		{"inherits all but the address", "iface base inet static\n\tmtu 1400\n\tpre-up ip link add $IFACE type wireguard\n" +
			"\tpre-up wg setconf $IFACE /etc/wireguard/$IFACE.conf\nauto w\niface w inet static inherits base\n\taddress 10.0.0.1/24\n",
			foreign.Device{Addresses: addr, MTU: 1400, Conf: "/etc/wireguard/w.conf"}},
		{"variables", "auto w\niface w inet manual\n\tinside 10.0.0.1/24\n" +
			"\tpre-up ip link add dev ${IFACE} type wireguard\n" +
			"\tup ip addr add $IF_INSIDE dev $IFACE\n", foreign.Device{Addresses: addr}},
		{"ifupdown-ng", "auto w\niface w\n\twireguard-config-path /etc/wg/w.conf\n" +
			"\taddress 10.0.0.1/24\n\taddress 2001:db8::1/64\n\tgateway 10.0.0.9\n\tforward-ipv4 yes\n", foreign.Device{
			Addresses: append(addr[:1:1], local("2001:db8::1/64")), Conf: "/etc/wg/w.conf", Forward: true,
			Routes: []foreign.Route{{Prefix: everything, Gateway: netip.MustParseAddr("10.0.0.9"), Metric: 1}}}},
		{"made only once", "auto w\niface w inet static\n\taddress 10.0.0.1/24\n\tpre-up modprobe wireguard\n" +
			"\tpre-up [ -d /sys/class/net/$IFACE ] || ip link add dev $IFACE mtu 1400 type wireguard\n" +
			"\tpre-up /usr/bin/wg setconf $IFACE \"/etc/wireguard/$IFACE.conf\"\n\tup ip link set up dev $IFACE\n" +
			"\tpost-down ip link delete dev $IFACE 2>/dev/null || true\n",
			foreign.Device{Addresses: addr, MTU: 1400, Conf: "/etc/wireguard/w.conf"}},
		{"peers by wg set", begin + "\tup wg set w listen-port 51820 private-key /etc/k peer " + peerKey +
			" preshared-key /etc/p allowed-ips 10.0.0.2/32,10.1.0.9/24 endpoint [2001:db8::1]:51820 persistent-keepalive 25\n",
			foreign.Device{Addresses: addr, ListenPort: 51820, PrivateKeyFile: "/etc/k", Peers: []foreign.Peer{{
				PublicKey: publicKey(peerKey), PresharedKeyFile: "/etc/p", Endpoint: "[2001:db8::1]:51820", Keepalive: 25,
				AllowedIPs: []netip.Prefix{prefix("10.0.0.2/32"), prefix("10.1.0.0/24")}}}}},
		{"masquerade", begin + "\tup iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE\n" +
			"\tdown iptables -t nat -D POSTROUTING -o eth0 -j MASQUERADE\n",
			foreign.Device{Addresses: addr, Masquerade: foreign.Masquerade{Uplinks: []string{"eth0"}}}},
		{"key file", begin + "\tup wg set $IFACE private-key /etc/wireguard/private listen-port 51820\n",
			foreign.Device{Addresses: addr, PrivateKeyFile: "/etc/wireguard/private", ListenPort: 51820}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Name = "w"
			if diff := cmp.Diff(c.want, *one(t, text(c.text)), same); diff != "" {
				t.Errorf("%s(-want +got):\n%s", c.text, diff)
			}
		})
	}
}

// Each line that is understood and cannot be expressed is listed once.
func TestLeft(t *testing.T) {
	d := one(t, text(`auto lo
source /etc/network/interfaces.d/*
allow-hotplug w
no-auto-down w
iface w inet manual
	pre-up ip link add $IFACE type wireguard
	address 10.0.0.1/24
	hwaddress random
	wpa-ssid x
	up /usr/local/sbin/announce
	post-down ip link del $IFACE
`))
	want := []string{"3 allow-hotplug", "4 no-auto-down", "7 address", "8 hwaddress", "9 wpa-ssid",
		"10 up = /usr/local/sbin/announce", "2 source"}
	var got []string
	for _, l := range d.Left {
		got = append(got, strings.Join([]string{itoa(l.Pos.Line), l.What}, " "))
		if l.Why == "" {
			t.Errorf("%s: no reason", l.What)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Errors have the line and a suggestion, and all of them are reported at once.
func TestErrors(t *testing.T) {
	const begin = "iface w inet static\n\taddress 10.0.0.1/24\n\tpre-up ip link add $IFACE type wireguard\n"
	for _, c := range []struct {
		text string
		want []string
	}{
		{begin + "\tadress 10.0.0.2/24\n\tmtuu 1400\n", []string{"interfaces:4", "did you mean address?", "interfaces:5",
			"did you mean mtu?"}},
		{"auto w\nmtu 1400\n" + begin, []string{"interfaces:2", "no key"}},
		{begin + "\tup\n", []string{"interfaces:4", "has no value"}},
		{begin + "\taddress 10.0.0.2/24\n", []string{"interfaces:4", "stanza of its own"}},
		{begin + "\tgateway 0.0.0.0\n", []string{"interfaces:4", "not a next hop", "up ip route add default dev w"}},
		{begin + "\tmtu 1400\n\tmtu 1300\n", []string{"interfaces:5", "twice"}},
		{strings.Replace(begin, "10.0.0.1/24", "10.0.0.1/33", 1), []string{"interfaces:2", "0 to 32"}},
		{strings.Replace(begin, "10.0.0.1/24", "2001:db8::1/64", 1), []string{"interfaces:2", "not an address of inet",
			"iface w inet6 static"}},
		{strings.Replace(begin, "10.0.0.1/24", "<address>", 1), []string{"interfaces:2", "placeholder"}},
		{begin + "\tnetmask 255.0.255.0\n", []string{"interfaces:4", "hole"}},
		{"iface w inet static\n\tpre-up ip link add w type wireguard\n", []string{"interfaces:1", "needs an address"}},
		{"iface w inet sttic\n\tpre-up ip link add w type wireguard\n", []string{"interfaces:1", "no method"}},
		{"iface w inet manual\n\tup wg-quick up $IFACE\n", []string{"interfaces:2", "wg-quick makes this interface",
			"wgkeys import /etc/wireguard/w.conf"}},
		{"iface w inet static\n\taddress 10.0.0.1/24\n\tpre-up wg-quick up /etc/wg/w.conf\n", []string{"interfaces:3",
			"wg-quick makes this interface", "adds an address", "wgkeys import /etc/wg/w.conf"}},
		{"iface eth0 inet dhcp\n", []string{"interfaces:1", "no WireGuard interface"}},
		{begin + "\tmtu\x001400\n", []string{"interfaces:4", "control character"}},
	} {
		_, err := Parse([]foreign.File{text(c.text)})
		if err == nil {
			t.Errorf("accepted:\n%s", c.text)
			continue
		}
		all := fullText(err)
		for _, want := range c.want {
			if !strings.Contains(all, want) {
				t.Errorf("%q is not in %q", want, all)
			}
		}
	}
}

// No error repeats a private key in a command.
func TestNoSecretInErrors(t *testing.T) {
	const key = "kEy1kEy2kEy3kEy4kEy5kEy6kEy7kEy8kEy9kEy0kEy="
	d := one(t, text("iface w inet manual\n\tpre-up ip link add w type wireguard\n"+
		"\tpre-up echo "+key+" | wg set $IFACE private-key /dev/stdin\n\t# PrivateKey = "+key+"\n\tdescription "+key+"\n"))
	if len(d.Left) != 2 || d.Description != "" || strings.Contains(fmt.Sprint(d.Left, d.Comment), "kEy") {
		t.Errorf("%+v %q", d.Left, d.Comment)
	}
	_, err := Parse([]foreign.File{text("iface w inet manual\n\tpre-up ip link add w type wireguard\n\t" + key + " x\n" +
		"\tmtu " + key + "\n\twireguard-config-path " + key + "\n\tgateway " + key + "\nnetmask " + key + "\n")})
	if err == nil || strings.Contains(fullText(err), "kEy") {
		t.Errorf("%v", err)
	}
}

// TestGateway: a default route of the main table catches the encrypted packets, which that
// of a tunnel does not.
func TestGateway(t *testing.T) {
	devices, err := Parse([]foreign.File{{Name: "interfaces", Text: []byte("auto w\niface w inet static\n" +
		"\taddress 10.0.0.1/24\n\tpre-up ip link add $IFACE type wireguard\n\tgateway 10.0.0.9\n")}})
	if err != nil || len(devices[0].Routes) != 1 {
		t.Fatal(devices, err)
	}
	if l := devices[0].Left; len(l) != 1 || l[0].What != "gateway" || l[0].Pos.Line != 5 ||
		!strings.Contains(l[0].Why, "takes the encrypted packets too") {
		t.Error(l)
	}
}

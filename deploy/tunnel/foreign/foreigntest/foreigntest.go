// Package foreigntest has helpers for the tests of the formats of other programs.
package foreigntest

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/lazyregexp"
)

// Files reads all files below dir. Their names are their paths relative to dir.
func Files(t testing.TB, dir string) (files []foreign.File) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files = append(files, foreign.File{Name: filepath.ToSlash(name), Text: text})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Dump prints the result of a parser line by line, for a golden file. For a secret it prints
// only whether there is one.
func Dump(devices []*foreign.Device, err error) string {
	var b bytes.Buffer
	if err != nil {
		fmt.Fprintf(&b, "%v\n", err)
	}
	for _, d := range devices {
		device(&b, d)
	}
	return b.String()
}

func device(b *bytes.Buffer, d *foreign.Device) {
	fmt.Fprintf(b, "device %s at %s:%d\n", d.Name, d.Pos.File, d.Pos.Line)
	line := func(name string, value any) {
		if s := fmt.Sprint(value); s != "" && s != "0" && s != "false" && s != "[]" && s != "map[]" {
			fmt.Fprintf(b, "  %s %s\n", name, s)
		}
	}
	line("host", d.Host)
	line("description", d.Description)
	line("comment", strings.Join(d.Comment, " | "))
	line("private key", !d.PrivateKey.IsZero())
	line("private key file", d.PrivateKeyFile)
	line("conf", d.Conf)
	line("more", d.AddConf)
	line("listen port", d.ListenPort)
	line("mtu", d.MTU)
	line("fwmark", d.FwMark)
	for _, a := range d.Addresses {
		line("address", a.Local)
		if a.Remote.IsValid() {
			line("  peer", a.Remote)
		}
	}
	line("dns", d.DNS)
	line("table", d.Table)
	line("metric", d.Metric)
	for _, p := range d.Peers {
		peer(b, p, line)
	}
	for _, r := range d.Routes {
		gateway := ""
		if r.Gateway.IsValid() {
			gateway = " via " + r.Gateway.String()
		}
		line("route", fmt.Sprintf("%s%s table %d metric %d", r.Prefix, gateway, r.Table, r.Metric))
	}
	line("forward", d.Forward)
	line("masquerade all", d.Masquerade.All)
	line("masquerade uplinks", d.Masquerade.Uplinks)
	line("masquerade tunnel", d.Masquerade.Tunnel)
	line("isolate", d.Isolate)
	line("without IPv6", d.WithoutIPv6)
	for _, key := range slices.Sorted(maps.Keys(d.Sysctls)) {
		line("sysctl", key+" = "+d.Sysctls[key])
	}
	line("manual", d.Manual)
	for _, l := range d.Left {
		fmt.Fprintf(b, "  left %s:%d: %s: %s\n", l.Pos.File, l.Pos.Line, l.What, l.Why)
	}
}

func peer(b *bytes.Buffer, p foreign.Peer, line func(string, any)) {
	fmt.Fprintf(b, "  peer %s %s\n", p.PublicKey, p.Name)
	line("  description", p.Description)
	line("  comment", strings.Join(p.Comment, " | "))
	line("  beside", strings.Join(p.Beside, " | "))
	line("  preshared key", !p.PresharedKey.IsZero())
	line("  preshared key file", p.PresharedKeyFile)
	line("  endpoint", p.Endpoint)
	line("  keepalive", p.Keepalive)
	line("  allowed ips", p.AllowedIPs)
	line("  routed", p.Routed)
}

// Meaning prints what the files of a view have to say, and [MeaningOf] what a parser read
// from files. After a round trip the two are equal.
func Meaning(v *tunnel.View) string {
	m := meaning{}
	m.add("device %s key file %q port %d mtu %d mark %d", v.Tunnel, v.PrivateKeyFile, v.ListenPort, v.MTU, v.FwMark)
	for _, a := range v.Addresses {
		m.add("address %s %v", a, v.Remotes[a.Addr()])
	}
	for _, p := range v.Peers {
		m.add("peer %s psk file %q endpoint %q keepalive %d", p.PublicKey, p.PresharedKeyFile, p.Endpoint, p.Keepalive)
		for _, a := range p.AllowedIPs {
			m.add("peer %s allowed %s", p.PublicKey, a)
		}
	}
	for _, r := range v.Routes {
		m.add("route %s %v %d %d", r.Prefix, r.Gateway, v.Table, r.Metric)
	}
	for _, d := range v.DNS {
		m.add("dns %s", d)
	}
	for key, val := range v.Sysctls {
		m.add("sysctl %s = %s", key, val)
	}
	m.add("forward %v masquerade %v description %q manual %v", v.Forward, len(v.Masquerade) > 0, v.Description, v.NoBoot)
	return m.String()
}

// MeaningOf is [Meaning] for the result of a parser.
func MeaningOf(d *foreign.Device) string {
	m := meaning{}
	m.add("device %s key file %q port %d mtu %d mark %d", d.Name, d.PrivateKeyFile, d.ListenPort, d.MTU, d.FwMark)
	own := map[netip.Prefix]bool{}
	for _, a := range d.Addresses {
		m.add("address %s %v", a.Local, a.Remote)
		own[a.Local.Masked()] = d.Table == 0
	}
	for _, p := range d.Peers {
		m.add("peer %s psk file %q endpoint %q keepalive %d", p.PublicKey, p.PresharedKeyFile, p.Endpoint, p.Keepalive)
		for _, a := range p.AllowedIPs {
			m.add("peer %s allowed %s", p.PublicKey, a)
			if p.Routed && !own[a] {
				m.add("route %s %v %d %d", a, netip.Addr{}, d.Table, d.Metric)
			}
		}
	}
	for _, r := range d.Routes {
		m.add("route %s %v %d %d", r.Prefix, r.Gateway, r.Table, r.Metric)
	}
	for _, s := range d.DNS {
		m.add("dns %s", s)
	}
	for key, val := range d.Sysctls {
		m.add("sysctl %s = %s", key, val)
	}
	m.add("forward %v masquerade %v description %q manual %v", d.Forward, d.Masquerade.All, d.Description, d.Manual)
	for _, l := range d.Left {
		m.add("left %s: %s", l.What, l.Why)
	}
	return m.String()
}

// A meaning is a set of lines.
type meaning []string

func (m *meaning) add(format string, args ...any) { *m = append(*m, fmt.Sprintf(format, args...)) }

func (m meaning) String() string {
	slices.Sort(m)
	return strings.Join(m, "\n")
}

// Views returns views of hosts that every format has to write: a server, a client, one that
// sends all packets into the tunnel, and others with one special setting each.
func Views() map[string]*tunnel.View {
	key := func(b byte) (k keyring.PublicKey) {
		for i := range k {
			k[i] = b
		}
		return k
	}
	prefixes := func(list ...string) (all []netip.Prefix) {
		for _, s := range list {
			all = append(all, netip.MustParsePrefix(s))
		}
		return all
	}
	routes := func(peer string, list ...string) (all []tunnel.Route) {
		for _, p := range prefixes(list...) {
			all = append(all, tunnel.Route{Prefix: p, Peer: peer})
		}
		return all
	}
	shale := tunnel.Peer{Name: "shale", PublicKey: key(9), Endpoint: "93.93.130.7:51820", Keepalive: 25}
	to := func(list ...string) []tunnel.Peer {
		p := shale
		p.AllowedIPs = prefixes(list...)
		return []tunnel.Peer{p}
	}
	return map[string]*tunnel.View{
		"server": {Tunnel: "wg0", Host: "shale", PrivateKeyFile: "/etc/wireguard/wg0.key", ListenPort: 51820,
			About:     tunnel.About{Description: "the hub; at home"},
			Addresses: prefixes("10.7.7.1/24", "fd00:7::1/64"), Forward: true, ForwardIPv4: true, ForwardIPv6: true,
			Peers: []tunnel.Peer{
				{Name: "basalt", PublicKey: key(5), AllowedIPs: prefixes("10.7.7.2/32", "192.168.9.0/24", "fd00:7::2/128"),
					PresharedKeyFile: "/etc/wireguard/wg0.basalt.psk"},
				{Name: "chert", PublicKey: key(7), AllowedIPs: prefixes("10.7.7.3/32")}},
			Routes: slices.Concat(routes("basalt", "10.7.7.2/32", "192.168.9.0/24", "fd00:7::2/128"),
				routes("chert", "10.7.7.3/32"))},
		"client": {Tunnel: "wg1", Host: "basalt", PrivateKeyFile: "/etc/keys/wg1.key", MTU: 1380,
			Addresses: prefixes("10.7.7.2/24"), DNS: []string{"10.7.7.1", "~home.example"},
			Peers: to("10.7.7.0/24", "192.168.9.0/24"), Routes: routes("shale", "192.168.9.0/24")},
		"full": {Tunnel: "wg0", Host: "basalt", PrivateKeyFile: "/etc/wireguard/wg0.key",
			Addresses: prefixes("10.7.7.2/32", "fd00:7::2/128"), DNS: []string{"10.7.7.1", "~."},
			Peers: to("0.0.0.0/0", "::/0"), Routes: routes("shale", "0.0.0.0/0", "::/0")},
		"ipv6": {Tunnel: "wg0", Host: "basalt", PrivateKeyFile: "/etc/wireguard/wg0.key",
			Addresses: prefixes("2001:db8:7767::2/128"), Peers: to("::/0"), Routes: routes("shale", "::/0")},
		"mark": {Tunnel: "wg0", Host: "basalt", PrivateKeyFile: "/etc/wireguard/wg0.key", FwMark: 51820,
			Addresses: prefixes("10.7.7.2/32"), Peers: to("0.0.0.0/0"), Routes: routes("shale", "0.0.0.0/0")},
		"table": {Tunnel: "wg0", Host: "basalt", PrivateKeyFile: "/etc/wireguard/wg0.key", FwMark: 0x57, Table: 1000,
			Addresses: prefixes("10.7.7.2/24"), Peers: to("0.0.0.0/0", "10.7.7.0/24"),
			Routes: routes("shale", "0.0.0.0/0", "10.7.7.0/24")},
		"metric": {Tunnel: "wg0", Host: "basalt", PrivateKeyFile: "/etc/wireguard/wg0.key",
			Addresses: prefixes("10.7.7.2/24"), Peers: to("10.0.0.0/8", "10.7.7.0/24"),
			Routes: []tunnel.Route{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Gateway: netip.MustParseAddr("10.7.7.1"),
				Metric: 77, Peer: "shale"}}},
		"unrouted": {Tunnel: "wg0", Host: "basalt", PrivateKeyFile: "/etc/wireguard/wg0.key",
			Addresses: prefixes("10.7.7.2/32"), Peers: to("10.7.7.1/32", "192.168.9.0/24"),
			Routes: routes("shale", "10.7.7.1/32")},
		"none": {Tunnel: "wg0", Host: "basalt", PrivateKeyFile: "/etc/wireguard/wg0.key", ListenPort: 7, NoBoot: true,
			Addresses: prefixes("10.7.7.2/32"), Peers: to("10.7.7.1/32")},
	}
}

// Fuzz finds texts with which a parser panics, with which a secret gets into an error or
// into what is left out, or whose meaning is lost when they are written and parsed again.
// Name is the name of the file; seeds are texts to start from.
func Fuzz(f *testing.F, seeds []foreign.File, name string, parse func([]foreign.File) ([]*foreign.Device, error),
	format func(*tunnel.View, foreign.Secrets) ([]foreign.File, error)) {
	for _, s := range seeds {
		f.Add(s.Text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		devices, err := parse([]foreign.File{{Name: name, Text: text}})
		said := Dump(withoutKeys(devices), err)
		for _, secret := range secretsIn(text, devices) {
			if strings.Contains(said, secret) {
				t.Fatalf("a secret is in\n%s", said)
			}
		}
		for _, d := range devices {
			again(t, d, parse, format)
		}
	})
}

// withoutKeys returns the devices without resolvers and domains that hold a key: a draft leaves the
// line out of the tunnel file.
func withoutKeys(devices []*foreign.Device) (without []*foreign.Device) {
	for _, d := range devices {
		c := *d
		c.DNS = slices.DeleteFunc(slices.Clone(d.DNS), keyring.HoldsKey[string])
		without = append(without, &c)
	}
	return without
}

// secretsIn returns the keys in a text that are not public keys of the peers.
func secretsIn(text []byte, devices []*foreign.Device) (secrets []string) {
	public := map[string]bool{}
	for _, d := range devices {
		for _, p := range d.Peers {
			public[p.PublicKey.String()] = true
		}
	}
	for _, word := range keyShaped().FindAllString(string(text), -1) {
		if !public[word] {
			secrets = append(secrets, word)
		}
	}
	return secrets
}

var keyShaped = lazyregexp.New(`[A-Za-z0-9+/]{43}=`)

// again writes what was parsed, if a view can express it, and parses the result.
func again(t *testing.T, d *foreign.Device, parse func([]foreign.File) ([]*foreign.Device, error),
	format func(*tunnel.View, foreign.Secrets) ([]foreign.File, error)) {
	v, s := viewOf(d)
	if v == nil {
		return
	}
	files, err := format(v, s)
	if err != nil {
		return // the format cannot express it, and says so
	}
	devices, err := parse(files)
	if err != nil || len(devices) != 1 {
		t.Fatalf("%d devices, %v of\n%s", len(devices), err, files[0].Text)
	}
	devices[0].PrivateKeyFile = v.PrivateKeyFile // the key may be in the text instead
	if got, want := MeaningOf(devices[0]), Meaning(v); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

// viewOf returns the view that says the same as d, or nil if there is none.
func viewOf(d *foreign.Device) (*tunnel.View, foreign.Secrets) {
	v := &tunnel.View{Tunnel: d.Name, Host: "basalt", PrivateKeyFile: cmp.Or(d.PrivateKeyFile, "/etc/wireguard/wg0.key"),
		ListenPort: d.ListenPort, MTU: d.MTU, FwMark: d.FwMark, Table: d.Table, DNS: d.DNS, Sysctls: d.Sysctls}
	v.PublicKey[0], v.Description = 11, d.Description
	s := foreign.Secrets{PrivateKey: d.PrivateKey}
	onLink := map[netip.Prefix]bool{}
	for _, a := range d.Addresses {
		v.Addresses = append(v.Addresses, a.Local)
		onLink[a.Local.Masked()] = d.Table == 0
	}
	for i, p := range d.Peers {
		name := fmt.Sprintf("p%d", i)
		v.Peers = append(v.Peers, tunnel.Peer{Name: name, PublicKey: p.PublicKey, Endpoint: p.Endpoint,
			Keepalive: p.Keepalive, AllowedIPs: p.AllowedIPs})
		for _, a := range p.AllowedIPs {
			if p.Routed && !onLink[a] {
				v.Routes = append(v.Routes, tunnel.Route{Prefix: a, Metric: d.Metric, Peer: name})
			}
		}
	}
	said := len(d.Left) > 0 || d.PrivateKey.IsZero() || d.Forward || d.Masquerade.All || d.WithoutIPv6 || d.Manual ||
		len(d.Routes) > 0
	if said || v.Validate() != nil {
		return nil, s
	}
	return v, s
}

// GoldenEach parses each file of the folders by itself, and compares what it says with the
// golden file beside it.
func GoldenEach(t *testing.T, parse func([]foreign.File) ([]*foreign.Device, error), dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		n := 0
		for _, f := range Files(t, dir) {
			if strings.HasSuffix(f.Name, ".golden") {
				continue
			}
			n++
			t.Run(f.Name, func(t *testing.T) {
				Golden(t, filepath.Join(dir, f.Name+".golden"), Dump(parse([]foreign.File{f})))
			})
		}
		if n == 0 {
			t.Errorf("no file in %s", dir)
		}
	}
}

// Refused requires that a text was refused with all that is wanted in the error and its
// hints, and without the private key in them.
func Refused(t *testing.T, text string, err error, private string, want []string) {
	t.Helper()
	if err == nil {
		t.Errorf("accepted:\n%s", text)
		return
	}
	all := err.Error() + strings.Join(fault.Hints(err), "\n")
	for _, w := range want {
		if !strings.Contains(all, w) {
			t.Errorf("%q is not in %q", w, all)
		}
	}
	if strings.Contains(all, private[:8]) {
		t.Errorf("the key is in %q", all)
	}
}

// Secrets formats the view of a server with a private key and this preshared key, requires
// that they are parsed again as they were, and returns the files.
func Secrets(t *testing.T, psk keyring.PresharedKey,
	format func(*tunnel.View, foreign.Secrets) ([]foreign.File, error),
	parse func([]foreign.File) ([]*foreign.Device, error)) []foreign.File {
	t.Helper()
	private, err := keyring.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	files, err := format(Views()["server"], foreign.Secrets{PrivateKey: private,
		PresharedKeys: map[string]keyring.PresharedKey{"basalt": psk}})
	if err != nil {
		t.Fatal(err)
	}
	devices, err := parse(files)
	if err != nil {
		t.Fatal(err)
	}
	d := devices[0]
	if d.PrivateKeyFile != "" || d.PrivateKey.PublicKey() != private.PublicKey() {
		t.Error("the private key was lost")
	}
	if p := d.Peers[0]; p.PresharedKeyFile != "" || !p.PresharedKey.Equal(psk) {
		t.Error("the preshared key was lost")
	}
	return files
}

// Golden compares got with the file at path, or writes the file if UPDATE is set.
func Golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

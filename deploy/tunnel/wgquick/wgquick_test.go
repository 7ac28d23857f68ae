package wgquick

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// views returns the common views without what wg-quick cannot express, and one of a router.
func views() map[string]*tunnel.View {
	all := foreigntest.Views()
	for _, v := range all {
		v.Description, v.NoBoot = "", false
		v.DNS = slices.DeleteFunc(v.DNS, func(s string) bool { return s == "~." })
	}
	router := *all["server"]
	router.Masquerade = []netip.Prefix{netip.MustParsePrefix("10.7.7.0/24"), netip.MustParsePrefix("192.168.9.0/24"),
		netip.MustParsePrefix("fd00:7::/64")}
	router.MasqueradeBy, router.MasqueradeTunnel, router.Isolate = []string{"eth0", "eth1"}, true, true
	router.Sysctls = map[string]string{"net.ipv4.tcp_mtu_probing": "1"}
	all["router"] = &router
	far := *all["none"]
	far.Remotes = map[netip.Addr]netip.Prefix{far.Addresses[0].Addr(): netip.MustParsePrefix("10.7.7.9/32")}
	all["far end"] = &far
	ipv4 := *all["full"] // the host has no IPv6, and a route to all of IPv4 alone
	ipv4.Addresses = slices.DeleteFunc(slices.Clone(ipv4.Addresses), func(a netip.Prefix) bool { return a.Addr().Is6() })
	ipv4.Routes = slices.DeleteFunc(slices.Clone(ipv4.Routes), func(r tunnel.Route) bool { return r.Prefix.Addr().Is6() })
	all["default route of one family"] = &ipv4
	return all
}

// TestRoundTrip: what is written for a view means the same when it is read.
func TestRoundTrip(t *testing.T) {
	for name, v := range views() {
		t.Run(name, func(t *testing.T) {
			files, err := Format(v, foreign.Secrets{})
			if err != nil {
				t.Fatal(err)
			}
			devices, err := Parse(files)
			if err != nil || len(devices) != 1 {
				t.Fatalf("%d devices, %v of\n%s", len(devices), err, files[0].Text)
			}
			if len(devices[0].Left) > 0 {
				t.Errorf("left out: %v", devices[0].Left)
			}
			devices[0].SettleMasquerade()
			said := devices[0].Masquerade
			want := foreign.Masquerade{All: len(v.Masquerade) > 0 && len(v.MasqueradeBy) == 0,
				Uplinks: v.MasqueradeBy, Tunnel: v.MasqueradeTunnel}
			if d := cmp.Diff(want, said); d != "" || devices[0].Isolate != v.Isolate {
				t.Errorf("isolate %v; masquerade %s", devices[0].Isolate, d)
			}
			devices[0].Masquerade.All = len(v.Masquerade) > 0 // what Meaning knows
			if d := cmp.Diff(foreigntest.Meaning(v), foreigntest.MeaningOf(devices[0])); d != "" {
				t.Errorf("%s\n%s", d, files[0].Text)
			}
		})
	}
}

// TestKeyFileQuoted: bash runs the commands that read the keys.
func TestKeyFileQuoted(t *testing.T) {
	v := *foreigntest.Views()["server"]
	v.PrivateKeyFile, v.Peers = "/etc/keys/wg0 (new).key", slices.Clone(v.Peers)
	v.Peers[0].PresharedKeyFile = "/etc/keys/anna's.psk"
	files, err := Format(&v, foreign.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	devices, err := Parse(files)
	if err != nil || devices[0].PrivateKeyFile != v.PrivateKeyFile ||
		devices[0].Peers[0].PresharedKeyFile != v.Peers[0].PresharedKeyFile {
		t.Errorf("%v of\n%s", err, files[0].Text)
	}
	commands := regexp.MustCompile(`(?m)^PostUp = (wg set .*)$`).FindAllStringSubmatch(string(files[0].Text), -1)
	for i, path := range []string{v.PrivateKeyFile, v.Peers[0].PresharedKeyFile} {
		out, err := exec.Command("bash", "-c", "wg() { shift $(($#-1)); printf %s \"$1\"; }; "+commands[i][1]).Output()
		if err != nil || string(out) != path {
			t.Errorf("%v, %q of %s", err, out, commands[i][1])
		}
	}
}

// TestDomainOfApp: WireGuard's apps refuse a domain that begins with "~".
func TestDomainOfApp(t *testing.T) {
	v := *foreigntest.Views()["full"]
	v.Unmanaged, v.DNS = true, []string{"10.7.7.1", "~home.example", "lan", "~."}
	key, err := keyring.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	files, err := Format(&v, foreign.Secrets{PrivateKey: key})
	if err != nil || !strings.Contains(string(files[0].Text), "\nDNS = 10.7.7.1, home.example, lan\n") {
		t.Error(err, "DNS is another")
	}
}

// TestIsolateFirst: what keeps peers apart comes before what lets packets of the tunnel through.
func TestIsolateFirst(t *testing.T) {
	files, err := Format(views()["router"], foreign.Secrets{})
	if err != nil || !strings.Contains(string(files[0].Text), "PostUp = iptables -I FORWARD -i %i -o %i -j DROP\n") ||
		!strings.Contains(string(files[0].Text), "PostUp = iptables -t nat -A POSTROUTING") {
		t.Errorf("%v\n%s", err, files[0].Text)
	}
}

// TestFarEnd: a command gives an address its far end, with the keys in the text too. Only a
// phone, which is not managed, runs none.
func TestFarEnd(t *testing.T) {
	key, err := keyring.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, phone := range []bool{false, true} {
		v := *views()["full"]
		v.Remotes = map[netip.Addr]netip.Prefix{v.Addresses[0].Addr(): netip.MustParsePrefix("10.7.7.9/32")}
		v.Unmanaged = phone
		files, err := Format(&v, foreign.Secrets{PrivateKey: key})
		if err != nil {
			t.Fatal(err)
		}
		devices, err := Parse(files)
		if err != nil || len(devices[0].Addresses) != len(v.Addresses) {
			t.Fatal(devices, err)
		}
		far := slices.ContainsFunc(devices[0].Addresses, func(a foreign.Address) bool { return a.Remote.IsValid() })
		if far == phone {
			t.Errorf("phone %v: %v", phone, devices[0].Addresses)
		}
	}
}

// FuzzParse: see [foreigntest.Fuzz].
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("../formats/testdata/wg-quick*/*.conf")
	if err != nil || len(paths) == 0 {
		f.Fatal(err)
	}
	var seeds []foreign.File
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, foreign.File{Name: path, Text: text})
	}
	foreigntest.Fuzz(f, seeds, "wg0.conf", Parse, Format)
}

// TestSavedMark: a mark that wg-quick chose and saved is dropped. One that somebody wrote,
// or that stands beside a table in the file, is kept.
func TestSavedMark(t *testing.T) {
	const key = "ODjFWl1m9PB1ijPpSmwDfNBvCLBTyzcDyE7wYKOaT0E="
	for file, want := range map[string]uint32{
		"Address = 10.0.0.2\nFwMark = 0xca6c\n":                0,
		"Address = 10.0.0.2\nFwMark = 51820\n":                 51820,
		"Address = 10.0.0.2\nTable = 51820\nFwMark = 0xca6c\n": 51820,
		"Address = 10.0.0.2\nTable = off\nFwMark = 0xca6c\n":   51820,
		"FwMark = 0xca6c\n":                                    51820, // of wg showconf
	} {
		text := "[Interface]\n" + file + "[Peer]\nPublicKey = " + key + "\nAllowedIPs = ::/0\n"
		devices, err := Parse([]foreign.File{{Name: "wg0.conf", Text: []byte(text)}})
		if err != nil || devices[0].FwMark != want {
			t.Errorf("%v, mark %d of\n%s", err, devices[0].FwMark, text)
		}
	}
}

// TestSpellings: keys that only wg-quick reads are split at commas and blanks, and comments
// about a key of a peer are distinguished from those that name the peer.
func TestSpellings(t *testing.T) {
	const key = "ODjFWl1m9PB1ijPpSmwDfNBvCLBTyzcDyE7wYKOaT0E="
	const text = "[Interface]\nAddress = 10.0.0.1/24 fd00::1/64,10.1.0.1/24\nDNS = 192.0.2.1  lan\nTable = default\n" +
		"# before\n[Peer] # at it\n# in it\nPublicKey = " + key + " # behind\n# on what\nAllowedIPs = 10.0.0.2 # it has\n"
	devices, err := Parse([]foreign.File{{Name: "wg0.conf", Text: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	d := devices[0]
	p := d.Peers[0]
	if len(d.Addresses) != 3 || len(d.DNS) != 2 || d.Table != 253 ||
		strings.Join(p.Comment, "; ") != "before; at it; in it; behind; on what; it has" ||
		strings.Join(p.Beside, "; ") != "on what; it has" {
		t.Errorf("%v, %q, %d, %q, %q", d.Addresses, d.DNS, d.Table, p.Comment, p.Beside)
	}
}

// TestRefused: what wg(8) or a tunnel does not have is refused, with the reason.
func TestRefused(t *testing.T) {
	for line, want := range map[string]string{
		"; home":                             "does not begin with ;",
		"Address = peer":                     "wg-quick save wrote this word",
		"Excluded = com.example.app":         "has no key",
		"Address = ::ffff:10.0.0.1/96":       "IPv4 within IPv6",
		"Address = ::ffff:10.0.0.1":          "IPv4 within IPv6",
		"Address = (none)":                   "leave the line out",
		"MTU = {{ mtu }}":                    "a placeholder stands where a number was",
		"PrivateKey = ENC[AES256_GCM,data:]": "sops has encrypted it",
		"[Peer] AllowedIPs = 10.0.0.2,":      "there is nothing before or after a comma",
		"ListenPort = 0xca6c":                "is not decimal",
		"[Peer] PersistentKeepalive = 0x19":  "is not decimal",
	} {
		line = strings.Replace(line, "[Peer] ", "\n[Peer]\n", 1)
		_, err := Parse([]foreign.File{{Name: "wg0.conf", Text: []byte("[Interface]\n" + line + "\n")}})
		at := fmt.Sprintf("wg0.conf:%d", 2+strings.Count(line, "\n"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), at) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestEmpty: what wg-quick takes an empty value for, it is here too. An empty line that wg(8)
// refuses the file for is left out, as is a table that only the host knows, with its routes.
func TestEmpty(t *testing.T) {
	const peer = "[Peer]\nPublicKey = ODjFWl1m9PB1ijPpSmwDfNBvCLBTyzcDyE7wYKOaT0E=\nAllowedIPs = 10.0.0.2\n"
	for text, want := range map[string]string{
		"MTU = 1300\nMTU =\nTable =\nDNS =\nPostUp =\n" + peer:     "",
		peer + "Endpoint =\nPresharedKey =\n":                      "5: Endpoint, 6: PresharedKey",
		peer + "AllowedIPs =\n":                                    "5: AllowedIPs",
		peer + "PresharedKey = " + strings.Repeat("A", 43) + "=\n": "",
		"Table = vpn\n" + peer:                                     "2: Table: only the host knows a table of that name",
		"Table = vpn\nTable = auto\n" + peer:                       "2: Table: only the host knows a table of that name",
		"ExcludedApplications = com.example.a,b.example\n" + peer:  "2: ExcludedApplications: which",
		peer + "Reserved = [1, 2, 3]\n":                            "5: Reserved: programs for Cloudflare WARP",
		peer + "Endpoint = 192.0.2.1 : 51820\n":                    "",
	} {
		devices, err := Parse([]foreign.File{{Name: "wg0.conf", Text: []byte("[Interface]\n" + text)}})
		if err != nil {
			t.Errorf("%v of\n%s", err, text)
			continue
		}
		d := devices[0]
		var got []string
		for _, l := range d.Left {
			got = append(got, fmt.Sprintf("%d: %s: %s", l.Pos.Line, l.What, l.Why))
		}
		wants := strings.Split(want, ", ")
		same := len(got) == len(wants) || want == "" && len(got) == 0
		for i := range got {
			same = same && strings.HasPrefix(got[i], wants[i])
		}
		routed := !strings.Contains(text, "Table = vpn") || strings.Contains(text, "auto")
		if !same || d.MTU != 0 || d.Peers[0].Routed != routed {
			t.Errorf("%q, MTU %d, routed %v of\n%s", got, d.MTU, d.Peers[0].Routed, text)
		}
		if e := d.Peers[0].Endpoint; e != "" && e != "192.0.2.1:51820" {
			t.Error(e)
		}
	}
}

// TestCommentsOf: comments are about the section that they stand at. A peer that was commented
// out is about none.
func TestCommentsOf(t *testing.T) {
	const laptop = "[Peer]\nPublicKey = ODjFWl1m9PB1ijPpSmwDfNBvCLBTyzcDyE7wYKOaT0E=\n"
	const phone = "[Peer]\nPublicKey = jWw86hTqpsbIi0bUoaVDzYfVZHVj2fTP5qtmqSGWC1c=\n"
	for text, want := range map[string]string{
		"[Interface]\n\n# laptop\n" + laptop + "\n# phone\n" + phone:            "|laptop|phone",
		"[Interface]\n# laptop\n" + laptop + "# phone\n" + phone:                "|laptop|phone",
		"[Interface]\n" + laptop + "# laptop\n\n" + phone + "# phone\n":         "|laptop|phone",
		"[Interface]\nMTU = 1300\n# at home\n\n" + laptop + phone:               "at home||",
		"[Interface]\nMTU = 1300\n# description: the hub\n" + laptop + phone:    "description: the hub||",
		"[Interface]\nMTU = 1300\n# description: it\n# laptop\n" + laptop:       "description: it|laptop",
		"[Interface]\nMTU = 1300\n\n# description: Anna's\n" + laptop:           "|description: Anna's",
		"[Interface]\nMTU = 1300\n# laptop\n# description: Anna's\n" + laptop:   "|laptop; description: Anna's",
		"[Interface]\n# old\n#[Peer]\n# MTU = 1\n\n# laptop\n" + laptop + phone: "old; [Peer]; MTU = 1|laptop|",
		"[Interface]\n" + laptop + "\n# [peer]\n# tablet\n" + phone:             "[peer]; tablet||",
		"[Interface]\n" + laptop + "# [Peer]\n# tablet\n\n# phone\n" + phone:    "[Peer]; tablet||phone",
		"# the hub\n\n[Interface]\n" + laptop:                                   "the hub|",
	} {
		devices, err := Parse([]foreign.File{{Name: "wg0.conf", Text: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(devices[0].Comment, "; ")
		for _, p := range devices[0].Peers {
			got += "|" + strings.Join(p.Comment, "; ")
		}
		if got != want {
			t.Errorf("%q, want %q of\n%s", got, want, text)
		}
	}
}

// TestContinued: a backslash at the end of a line is reported, since wg(8) does not name it.
func TestContinued(t *testing.T) {
	text := "[Interface]\nPostUp = sysctl -w net.ipv4.ip_forward=1; \\\n  sysctl -p\n[Peer]\nName = phone\n"
	_, err := Parse([]foreign.File{{Name: "wg0.conf", Text: []byte(text)}})
	for _, want := range []string{`wg0.conf:3": "sysctl -p" goes on from the line before`,
		"write the command into one line",
		`wg0.conf:5": wg-quick has no key Name in [Peer]`, "begin the line with #"} {
		if got := fmt.Sprintf("%v %s", err, fault.Hints(err)); !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
}

package live

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/foreign"
)

const (
	key  = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
	peer = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
)

// said is what a host with a full tunnel of wg-quick says.
const said = `@conf wg0
|[Interface]
|ListenPort = 51820
|FwMark = 0xca6c
|PrivateKey = ` + key + `
|
|[Peer]
|PublicKey = ` + peer + `
|AllowedIPs = 0.0.0.0/0, ::/0
|Endpoint = 192.0.2.1:51820

@address wg0
|[{"ifname":"wg0","mtu":1380,"addr_info":[{"family":"inet","local":"10.9.0.2","prefixlen":24,"scope":"global"},
|{"family":"inet","local":"10.9.1.2","address":"10.9.1.1","prefixlen":32,"scope":"global"},
|{"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"},
|{"family":"inet6","local":"fd00:9::2","prefixlen":128,"scope":"global"}]}]

@route 4 wg0
|[{"dst":"default","scope":"link","table":"51820","flags":[]},
|{"dst":"10.9.0.0/24","protocol":"kernel","scope":"link","flags":[]},
|{"type":"local","dst":"10.9.0.2","table":"local","protocol":"kernel","flags":[]},
|{"dst":"10.4.0.1","metric":7,"table":"77","flags":[]}]

@route 6 wg0
|[{"dst":"default","metric":1024,"table":"51820","flags":[]},
|{"dst":"fd00:8::/32","gateway":"fd00:9::1","metric":1024,"flags":[]},
|{"type":"multicast","dst":"ff00::/8","table":"local","protocol":"kernel","flags":[]}]

@rules 4
|0:	from all lookup local
|32764:	from all lookup main suppress_prefixlength 0
|32765:	not from all fwmark 0xca6c lookup 51820

@rules 6

@forward
|1
|0

@end
`

// TestParse: a device has the state of the kernel, without what the program chose by itself
// and what the kernel made.
func TestParse(t *testing.T) {
	h, err := Parse("basalt", []byte("Welcome to Debian!\n"+said))
	if err != nil {
		t.Fatal(err)
	}
	d := h.Devices[0]
	if d.FwMark != 0 || d.ListenPort != 51820 || d.MTU != 1380 ||
		d.PrivateKey.IsZero() || len(d.Peers) != 1 || d.Peers[0].Routed {
		t.Errorf("%+v", d)
	}
	var got []string
	for _, a := range d.Addresses {
		got = append(got, "address "+a.Local.String()+" "+a.Remote.String())
	}
	for _, r := range d.Routes {
		got = append(got, strings.Join([]string{"route", r.Prefix.String(), r.Gateway.String(), strconv.Itoa(r.Table),
			strconv.Itoa(r.Metric)}, " "))
	}
	want := `address 10.9.0.2/24 invalid Prefix
address 10.9.1.2/32 10.9.1.1/32
address fd00:9::2/128 invalid Prefix
route 0.0.0.0/0 invalid IP 0 0
route 10.4.0.1/32 invalid IP 77 7
route ::/0 invalid IP 0 0
route fd00:8::/32 fd00:9::1 0 0`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if alone, _ := h.Merge(d, nil); alone.Forward {
		t.Error("a host of one peer need not forward")
	}
}

// TestParseRefuses: a program that the host lacks is an error, and so is an incomplete
// answer.
func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"@lack wg\n@end\n", "@deny sudo\n@end\n", strings.TrimSuffix(said, "@end\n"), "",
		"@end\nfoo\n", "@route 4 wg0\n[]\n@end\n",
	} {
		if _, err := Parse("basalt", []byte(text)); err == nil || strings.Contains(err.Error(), key[:20]) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// TestMergeWhere: a difference names the line of the setting.
func TestMergeWhere(t *testing.T) {
	h, err := Parse("basalt", []byte(said))
	if err != nil {
		t.Fatal(err)
	}
	file := &foreign.Device{Pos: foreign.Pos{File: "wg0.conf", Line: 1}, ListenPort: 7, MTU: 1300, FwMark: 5}
	for i, key := range []string{"ListenPort", "MTU", "Address", "FwMark"} {
		file.Mark(key, foreign.Pos{File: "wg0.conf", Line: 3 + i})
	}
	_, differences := h.Merge(h.Devices[0], file)
	var got []string
	for _, d := range differences {
		got = append(got, d.What+" "+strconv.Itoa(d.Pos.Line))
	}
	if all := strings.Join(got, ", "); !strings.HasPrefix(all, "listen port 3, mtu 4, addresses 5, ") {
		t.Error(all)
	}
}

// FuzzParse: no answer of a host makes the parser panic, and no error has a key of it.
func FuzzParse(f *testing.F) {
	f.Add([]byte(said))
	f.Add([]byte("@lack wg\n@end\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := Parse("basalt", text)
		if err != nil {
			for _, key := range keyShaped.FindAllString(string(text), -1) {
				if strings.Contains(err.Error(), key) {
					t.Errorf("a key is in the error %v", err)
				}
			}
			return
		}
		for _, d := range h.Devices {
			h.Merge(d, nil)
			for _, other := range h.Devices {
				h.Merge(d, other)
			}
		}
	})
}

var keyShaped = regexp.MustCompile(`[A-Za-z0-9+/]{43}=`)

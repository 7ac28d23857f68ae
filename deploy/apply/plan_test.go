package apply_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

var (
	update   = flag.Bool("update", false, "write the golden files again")
	cmpEmpty = cmpopts.EquateEmpty()
)

// view derives a host's view from the text of a tunnel file. The public key of
// each host depends on its name alone, but for those in other.
func view(t testing.TB, text, host string, other map[string]string) *tunnel.View {
	t.Helper()
	tun, err := tunnel.Parse(fstest.MapFS{"wg0.toml": {Data: []byte(text)}}, "wg0")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	keys := map[string]keyring.PublicKey{}
	for _, name := range tun.Hosts() {
		seed := name
		if s, ok := other[name]; ok {
			seed = s
		}
		keys[name] = publicKey(seed)
	}
	v, err := tun.View(host, keys)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func firstUsers(t testing.TB) (shale, basalt *tunnel.View) {
	t.Helper()
	text, err := os.ReadFile("../../testdata/first-users/tunnels/wg0.toml")
	if err != nil {
		t.Fatal(err)
	}
	return view(t, string(text), "shale", nil), view(t, string(text), "basalt", nil)
}

// readable puts names in the place of keys.
func readable(s string) string {
	var pairs []string
	for _, name := range []string{"shale", "basalt", "chert", "dolerite"} {
		pairs = append(pairs, publicKey(name).String(), "("+name+")",
			publicKey(name+", new").String(), "("+name+", new)")
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// golden compares an archive with the file, or writes it.
func golden(t *testing.T, file string, archive *txtar.Archive) {
	t.Helper()
	got := []byte(readable(string(txtar.Format(archive))))
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s (-want +got):\n%s", path, cmp.Diff(string(want), string(got)))
	}
}

// TestFirstUsers shows what apply and down do on the first users' two hosts:
// the plan, what it changes in the kernel, the journal, and the way back.
func TestFirstUsers(t *testing.T) {
	shale, basalt := firstUsers(t)
	for _, v := range []*tunnel.View{shale, basalt} {
		h := newHost(t)
		origin := h.dump()
		plan := h.apply(t, v)
		applied := h.dump()
		journal, err := os.ReadFile(filepath.Join(h.dir, "wg0.journal"))
		if err != nil {
			t.Fatal(err)
		}
		down := h.down(t, "wg0")
		if d := diff(origin, h.dump()); d != "" {
			t.Errorf("down leaves\n%s", d)
		}
		golden(t, v.Host+".txtar", &txtar.Archive{Files: []txtar.File{
			{Name: "apply", Data: []byte(spelled(plan))},
			{Name: "kernel", Data: []byte(diff(origin, applied))},
			{Name: "journal", Data: journal},
			{Name: "down", Data: []byte(spelled(down))},
		}})
	}
}

// beforeChange is a tunnel that the single changes begin with.
const beforeChange = `listen_port = 30567
[hosts.shale]
endpoint = "93.93.130.7"
addresses = ["10.0.0.1/24", "2001:db8:7767::1/64"]
routes = ["::/0"]
forward = true
[hosts.basalt]
addresses = ["10.0.0.2/24", "2001:db8:7767::2/128"]
routes = ["192.168.2.0/24"]
[hosts.chert]
addresses = ["10.0.0.3/24", "2001:db8:7767::3/128"]
`

// TestSingleChange shows what one change of the tunnel file is in the kernel.
func TestSingleChange(t *testing.T) {
	tests := []struct {
		name, old, new string
		host           string            // "": shale
		keys           map[string]string // other keys afterwards
	}{
		{name: "nothing"},
		{name: "peer added", old: "[hosts.chert]", new: "[hosts.dolerite]\naddresses = [\"10.0.0.4/24\"]\n[hosts.chert]"},
		{name: "peer removed", old: "[hosts.chert]\naddresses = [\"10.0.0.3/24\", \"2001:db8:7767::3/128\"]\n"},
		{name: "peer's key", keys: map[string]string{"chert": "chert, new"}},
		{name: "own key", keys: map[string]string{"shale": "shale, new"}},
		{name: "allowed IP from basalt to chert",
			old: "routes = [\"192.168.2.0/24\"]\n[hosts.chert]", new: "[hosts.chert]\nroutes = [\"192.168.2.0/24\"]"},
		{name: "address from chert to basalt",
			old: "\"2001:db8:7767::2/128\"]\nroutes = [\"192.168.2.0/24\"]\n[hosts.chert]\naddresses = [\"10.0.0.3/24\", \"2001:db8:7767::3/128\"]",
			new: "\"2001:db8:7767::2/128\", \"2001:db8:7767::3/128\"]\nroutes = [\"192.168.2.0/24\"]\n[hosts.chert]\naddresses = [\"10.0.0.3/24\"]"},
		{name: "allowed IP of nobody", old: "routes = [\"192.168.2.0/24\"]\n"},
		{name: "endpoint", host: "basalt", old: "93.93.130.7", new: "93.93.130.8"},
		{name: "keepalive", host: "basalt", old: "[hosts.basalt]", new: "[hosts.basalt]\nkeepalive = 25"},
		{name: "preshared key", old: "[hosts.basalt]", new: "[hosts.basalt]\npsk = true"},
		{name: "port", old: "30567", new: "51820"},
		{name: "mark", old: "[hosts.basalt]", new: "fwmark = 7\n[hosts.basalt]"},
		{name: "MTU", old: "listen_port", new: "mtu = 1380\nlisten_port"},
		{name: "address", old: "2001:db8:7767::1/64", new: "2001:db8:7767::9/64"},
		{name: "route added", old: "\"192.168.2.0/24\"", new: "\"192.168.2.0/24\", \"192.168.3.0/24\""},
		{name: "gateway", host: "basalt", old: "[hosts.basalt]", new: "[hosts.basalt]\ngateway = \"2001:db8:7767::1\""},
		{name: "metric", old: "[hosts.basalt]", new: "metric = 512\n[hosts.basalt]"},
		{name: "table", old: "[hosts.basalt]", new: "table = 7767\n[hosts.basalt]"},
		{name: "sysctl", old: "[hosts.basalt]",
			new: "sysctls = {\"net.ipv4.conf.wg0.rp_filter\" = 0, \"net.core.rmem_max\" = 2500000}\n[hosts.basalt]"},
		{name: "neighbour proxy", old: "[hosts.basalt]", new: "ndp_proxy = true\n[hosts.basalt]"},
		{name: "no longer a router", old: "forward = true", new: "forward = false"},
		{name: "masquerade", old: "[hosts.basalt]", new: "masquerade = true\n[hosts.basalt]"},
		{name: "resolvers", old: "[hosts.basalt]", new: "dns = [\"10.0.0.53\"]\n[hosts.basalt]"},
	}
	archive := &txtar.Archive{Comment: []byte("What one change of the tunnel file is in the kernel, and back.\n" +
		"go test ./deploy/apply -run TestSingleChange -update\n")}
	for _, test := range tests {
		name := test.host
		if name == "" {
			name = "shale"
		}
		if strings.Count(beforeChange, test.old) != 1 && test.old != "" {
			t.Fatalf("%s: %q is not there once", test.name, test.old)
		}
		a := view(t, beforeChange, name, nil)
		b := view(t, strings.Replace(beforeChange, test.old, test.new, 1), name, test.keys)
		if test.old == "" {
			b = view(t, beforeChange, name, test.keys)
		}
		h := newHost(t)
		h.apply(t, a)
		old := h.dump()
		there := spelled(h.apply(t, b))
		text := there + "\n" + diff(old, h.dump())
		text += "\nback\n" + spelled(h.apply(t, a))
		if d := diff(old, h.dump()); d != "" {
			text += "\nbut not all of it\n" + d
		}
		if again, _ := h.plan(t, a); len(again.Steps) > 0 {
			t.Errorf("%s: the second plan is not empty:\n%s", test.name, spelled(again))
		}
		if (there == "") != (test.name == "nothing") {
			t.Errorf("%s: the plan is %q", test.name, there)
		}
		archive.Files = append(archive.Files, txtar.File{Name: fmt.Sprintf("%s: %s", name, test.name), Data: []byte(text)})
	}
	golden(t, "changes.txtar", archive)
}

package main

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// crossroads is a tunnel with shale in its middle. What the other tunnel files
// of transitionViews change, they change here.
const crossroads = `listen_port = 30567

[hosts.shale]
endpoint  = "93.93.130.7"
addresses = ["10.77.0.1/24", "2001:db8:7767::1/128"]
forward   = true

[hosts.basalt]
endpoint  = "192.0.2.10"
addresses = ["10.77.0.2/32", "2001:db8:7767::2/128"]
routes    = ["2001:db8:2::/48"]
peers     = ["shale"]

[hosts.flint]
endpoint  = "192.0.2.77"
addresses = ["10.77.0.3/32", "2001:db8:7767::3/128"]
peers     = ["shale"]

[hosts.slate]
addresses = ["10.77.0.4/32", "2001:db8:7767::4/128"]
routes    = ["2001:db8:4::/48"]
peers     = ["shale"]

[hosts.shale.peer.flint]
`

// An edit of a file: what stands there, and what comes in its place.
type edit struct{ old, new string }

func onShale(lines string) edit {
	return edit{"forward   = true\n", "forward   = true\n" + lines}
}

func onPairWithFlint(lines string) edit {
	return edit{"[hosts.shale.peer.flint]\n", "[hosts.shale.peer.flint]\n" + lines}
}

// The edits, by what they change of shale's view.
var (
	otherPeers = []edit{{"hosts.slate", "hosts.granite"}, {"10.77.0.4/32", "10.77.0.5/32"}, {"::4/128", "::5/128"}}
	swapped    = []edit{{"2001:db8:2::/48", "(first)"}, {"2001:db8:4::/48", "2001:db8:2::/48"},
		{"(first)", "2001:db8:4::/48"}}
	endpoint     = []edit{{"192.0.2.77", "192.0.2.78:4500"}, onPairWithFlint("keepalive = 25\n")}
	psk          = []edit{onPairWithFlint("psk = true\n")}
	port         = []edit{onShale("listen_port = 30568\n")}
	mark         = []edit{onShale("mtu = 1340\nfwmark = 0x99\n")}
	addresses    = []edit{{`"10.77.0.1/24"`, `"10.77.0.9/24", "2001:db8:7767::9/128"`}}
	gateway      = []edit{onShale("metric = 512\ngateway = \"2001:db8:7767::2\"\n")}
	table        = []edit{onShale("table = 777\n")}
	sysctls      = []edit{onShale("ndp_proxy = true\nmasquerade = true\nsysctls = { \"net.ipv4.conf.wg0.log_martians\" = \"1\", \"net.ipv4.conf.all.log_martians\" = \"1\" }\n")}
	noRouter     = []edit{{"forward   = true\n", ""}}
	defaultRoute = []edit{{`["10.77.0.3/32", "2001:db8:7767::3/128"]`, `["10.77.0.3/32", "2001:db8:7767::3/128"]` +
		"\nroutes = [\"0.0.0.0/0\"]"}}
)

// transitionViews are shale's, from and to each of which the test goes.
var transitionViews = []struct {
	name   string
	edits  [][]edit
	newKey string // the host whose key is another
}{
	{"as at first", nil, ""},
	{"peers", [][]edit{otherPeers}, "flint"},
	{"allowed IPs", [][]edit{swapped}, ""},
	{"endpoint, keepalive", [][]edit{endpoint}, ""},
	{"preshared key", [][]edit{psk}, ""},
	{"port", [][]edit{port}, ""},
	{"MTU, mark", [][]edit{mark}, ""},
	{"addresses", [][]edit{addresses}, ""},
	{"metric, gateway", [][]edit{gateway}, ""},
	{"table", [][]edit{table}, ""},
	{"sysctls, proxies, masquerade", [][]edit{sysctls}, ""},
	{"no router", [][]edit{noRouter}, ""},
	{"default route", [][]edit{defaultRoute}, ""},
	{"everything", [][]edit{otherPeers, swapped, endpoint, psk, port, mark, addresses, gateway, sysctls, defaultRoute},
		"flint"},
}

// deriveViews derives each view as `wgkeys apply` would.
func deriveViews(t *testing.T, host string, keys map[string]keyring.PublicKey) (views []*tunnel.View) {
	t.Helper()
	other := mustKey(t)
	for _, v := range transitionViews {
		text := crossroads
		for _, edits := range v.edits {
			for _, e := range edits {
				if !strings.Contains(text, e.old) {
					t.Fatalf("%s: no %q in\n%s", v.name, e.old, text)
				}
				text = strings.ReplaceAll(text, e.old, e.new)
			}
		}
		keys := maps.Clone(keys)
		if v.newKey != "" {
			keys[v.newKey] = other
		}
		parsed, err := tunnel.Parse(fstest.MapFS{"wg0.toml": {Data: []byte(text)}}, "wg0")
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		view, err := parsed.View(host, keys)
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		views = append(views, view)
	}
	return views
}

func mustKey(t *testing.T) keyring.PublicKey {
	t.Helper()
	k, err := keyring.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k.PublicKey()
}

func encoded(t *testing.T, v *tunnel.View) string {
	t.Helper()
	var b bytes.Buffer
	if err := tunnel.EncodeView(&b, v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// everyPair is a way over n views that takes each step from one to another
// exactly once: a circuit of Euler's (Hierholzer, 1873).
func everyPair(n int) (way []int) {
	next := make([]int, n) // each view has gone to those before
	stack := []int{0}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		if next[at] == at {
			next[at]++
		}
		if next[at] >= n {
			way = append(way, at)
			stack = stack[:len(stack)-1]
			continue
		}
		stack = append(stack, next[at])
		next[at]++
	}
	for i, j := 0, len(way)-1; i < j; i, j = i+1, j-1 {
		way[i], way[j] = way[j], way[i]
	}
	return way
}

// shortWay takes the transitions with most in them: to a mark, to another mark,
// and to none, with all that everything changes.
func shortWay() []int {
	last := len(transitionViews) - 1
	return []int{0, 2, last - 1, last, 0}
}

// throughEnds comes to each view, and leaves it, from the first one, which has least in
// it, and from the last, which has everything.
func throughEnds(n int) []int {
	way := []int{0}
	for i := 1; i < n; i++ {
		way = append(way, i, 0)
	}
	way = append(way, n-1)
	for i := 1; i < n-1; i++ {
		way = append(way, i, n-1)
	}
	return way
}

// thereAndBack takes each change that systemd-networkd has words for in one
// interface's files, and takes it back.
func thereAndBack() []int {
	way := []int{0}
	for i, v := range transitionViews {
		switch v.name {
		case "peers", "allowed IPs", "endpoint, keepalive", "preshared key", "port", "MTU, mark", "addresses",
			"metric, gateway":
			way = append(way, i, 0)
		}
	}
	return way
}

func TestLabEveryPair(t *testing.T) {
	n := len(transitionViews)
	way := everyPair(n)
	taken := map[[2]int]bool{}
	for i := range len(way) - 1 {
		taken[[2]int{way[i], way[i+1]}] = way[i] != way[i+1]
	}
	if len(way) != n*(n-1)+1 || len(taken) != n*(n-1) {
		t.Errorf("%d steps, %d different ones, want %d", len(way)-1, len(taken), n*(n-1))
	}
	for step, real := range taken {
		if !real {
			t.Errorf("a step from %d to itself", step[0])
		}
	}
}

package linux_test

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/apply/firewall"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// ages matches what changes by itself.
var ages = regexp.MustCompile(` expires \d+sec| valid_lft .*$|^\d+: `)

// TestAnyPair is the test of the same name in package apply, on a real kernel.
func TestAnyPair(t *testing.T) {
	h := newHost(t)
	pairs := 25
	if lab.Kernel() == "vm" {
		pairs = 8 // a machine without KVM is some twenty times slower
		if testing.Short() {
			pairs = 3
		}
	}
	for seed := range pairs {
		r := rand.New(rand.NewPCG(uint64(seed), 7767))
		a, b := applytest.View(r, "wg0"), applytest.View(r, "wg0")
		if a.ListenPort, b.ListenPort = 30567, 51820; seed%2 == 0 {
			b.ListenPort = a.ListenPort
		}
		origin := dump(t)
		h.apply(t, b)
		want := dump(t)
		h.down(t)
		if d := diff(origin, dump(t)); d != "" {
			t.Fatalf("seed %d: down leaves\n%s", seed, d)
		}
		h.apply(t, a)
		plan := h.apply(t, b)
		if again, _ := h.plan(t, b); len(again.Steps) > 0 {
			t.Errorf("seed %d: the second plan is not empty:\n%sthe first was\n%s", seed, spelled(again), spelled(plan))
		}
		if d := diff(forget(want, b), forget(dump(t), b)); d != "" {
			t.Errorf("seed %d: another state than from nothing:\n%s%s", seed, d, spelled(plan))
		}
		h.down(t)
		if d := diff(origin, dump(t)); d != "" {
			t.Errorf("seed %d: down leaves\n%s", seed, d)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d pairs; %s", pairs, which())
}

// forget drops what depends on earlier views: endpoints that the view does not have,
// parameters that the kernel changes, and the link-local address of a link whose MTU
// becomes large enough for IPv6.
func forget(lines []string, v *tunnel.View) []string {
	var kept []string
	for _, line := range lines {
		for _, p := range v.Peers {
			if f := strings.Fields(line); p.Endpoint == "" && strings.HasPrefix(line, p.PublicKey.String()) {
				f[2] = "(none)"
				line = strings.Join(f, " ")
			}
		}
		line = strings.Join(strings.Fields(line), " ")
		if !strings.Contains(line, "fe80::") && !strings.Contains(line, "addr_gen_mode") &&
			!strings.Contains(line, "/all/send_redirects") && !strings.Contains(line, "/all/accept_redirects") {
			kept = append(kept, line)
		}
	}
	return kept
}

var publicKey = applytest.PublicKey

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// ready returns a host with a tunnel that is up, on which changes can be made.
func ready(t *testing.T) (*host, *tunnel.View) {
	h := newHost(t)
	v := &tunnel.View{
		Tunnel: "wg0", Host: "shale", PublicKey: publicKey(applytest.Own[0]), PrivateKeyFile: "/etc/wireguard/wg0.key",
		ListenPort: 30567, Forward: true, ForwardIPv4: true, ForwardIPv6: true,
		Addresses: applytest.Prefixes("10.0.0.1/24 2001:db8::1/64"),
		Peers: []tunnel.Peer{
			{Name: "basalt", PublicKey: publicKey("basalt"), AllowedIPs: applytest.Prefixes("10.0.0.2/32 2001:db8::2/128"),
				PresharedKeyFile: "/etc/wireguard/wg0.basalt.psk", Endpoint: "198.51.100.2:51820", Keepalive: 25},
			{Name: "chert", PublicKey: publicKey("chert"), AllowedIPs: applytest.Prefixes("10.0.0.3/32 192.168.0.0/24")},
		},
		Routes:  []tunnel.Route{{Prefix: prefix("192.168.0.0/24"), Peer: "chert"}},
		Proxies: []netip.Addr{netip.MustParseAddr("2001:db8::2")},
	}
	h.apply(t, v)
	return h, v
}

// everyChange returns changes of each type for a tunnel that is ready.
func everyChange(s *apply.State) map[string]apply.Change {
	basalt, chert := s.Peers[0], s.Peers[1]
	if basalt.PublicKey != publicKey("basalt") {
		basalt, chert = chert, basalt
	}
	slower, moved, plain := basalt, basalt, basalt
	slower.Keepalive = 99
	moved.Endpoint = netip.MustParseAddrPort("[2001:db8:ffff::77]:9")
	plain.PSK = ""
	fewer, taker := chert, basalt
	fewer.AllowedIPs = applytest.Prefixes("10.0.0.3/32")
	taker.AllowedIPs = append(slices.Clone(basalt.AllowedIPs), prefix("192.168.0.0/24"))
	dolerite := apply.Peer{PublicKey: publicKey("dolerite"), Keepalive: 7, AllowedIPs: applytest.Prefixes("10.0.0.4/32")}
	marked, ported, keyed := s.Device, s.Device, s.Device
	marked.FwMark, ported.ListenPort, keyed.PublicKey = 7, 30999, keyring.PublicKey{}
	route := apply.Route{Prefix: prefix("192.168.7.0/24")}
	gateway := apply.Route{Prefix: route.Prefix, Gateway: netip.MustParseAddr("10.0.0.2")}
	far := apply.Route{Prefix: prefix("2001:db8:7::/48"), Metric: 77, Table: 7767}
	filter := &apply.Filter{Link: "wg0", Masquerade: applytest.Prefixes("10.0.0.0/24"),
		Guard: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Mark: apply.Mark{Value: 7, Mask: 0xff}, IPv4: true, Label: true}
	up := *s.Link
	wide := up
	wide.MTU = 1380
	changes := map[string]apply.Change{
		"MTU":            apply.LinkChange{Name: "wg0", Old: &up, New: &wide},
		"mark":           apply.DeviceChange{Link: "wg0", Old: s.Device, New: marked},
		"port":           apply.DeviceChange{Link: "wg0", Old: s.Device, New: ported},
		"no private key": apply.DeviceChange{Link: "wg0", Old: s.Device, New: keyed},
		"keepalive":      apply.PeerChange{Link: "wg0", Old: &basalt, New: &slower},
		"endpoint":       apply.PeerChange{Link: "wg0", Old: &basalt, New: &moved},
		"no preshared":   apply.PeerChange{Link: "wg0", Old: &basalt, New: &plain},
		"prefix lost":    apply.PeerChange{Link: "wg0", Old: &chert, New: &fewer},
		"peer added":     apply.PeerChange{Link: "wg0", New: &dolerite},
		"peer removed":   apply.PeerChange{Link: "wg0", Old: &chert},
		"address 4":      apply.AddressChange{Link: "wg0", Address: apply.Address{Prefix: prefix("10.8.0.1/24")}, Add: true},
		"address 6": apply.AddressChange{Link: "wg0", Address: apply.Address{Prefix: prefix("2001:db8:8::1/64")},
			Add: true},
		"address gone": apply.AddressChange{Link: "wg0", Address: apply.Address{Prefix: prefix("2001:db8::1/64")}},
		"route 4":      apply.RouteChange{Link: "wg0", New: &route},
		"route 6":      apply.RouteChange{Link: "wg0", New: &far},
		"via":          apply.RouteChange{Link: "wg0", New: &gateway},
		"route gone":   apply.RouteChange{Link: "wg0", Old: &apply.Route{Prefix: prefix("192.168.0.0/24")}},
		"rule 4":       apply.RuleChange{Rule: apply.Rule{Priority: 32764, AtLeast: 1}, Add: true},
		"rule 6": apply.RuleChange{Rule: apply.Rule{IPv6: true, Priority: 32765,
			NotMark: apply.Mark{Value: 7, Mask: 0xff}, Table: 7}, Add: true},
		"refusal 6": apply.RuleChange{Rule: apply.Rule{IPv6: true, Priority: 32765,
			NotMark: apply.Mark{Value: 7, Mask: 0xff}, Refuses: prefix("::/0")}, Add: true},
		"refusal of": apply.RuleChange{Rule: apply.Rule{IPv6: true, Priority: 32765,
			NotMark: apply.Mark{Value: 7, Mask: 0xff}, Refuses: prefix("2000::/3")}, Add: true},
		"unreachable 4": apply.UnreachableChange{Route: apply.Unreachable{Prefix: prefix("0.0.0.0/0"), Table: 7767},
			Add: true},
		"unreachable 6": apply.UnreachableChange{Route: apply.Unreachable{Prefix: prefix("2000::/3"), Table: 7767},
			Add: true},
		"proxy": apply.ProxyChange{Proxy: apply.Proxy{Link: "eth0", Addr: netip.MustParseAddr("2001:db8::9")},
			Add: true},
		"proxy gone": apply.ProxyChange{Proxy: apply.Proxy{Link: "eth0", Addr: netip.MustParseAddr("2001:db8::2")}},
		"sysctl":     apply.SysctlChange{Key: "net/ipv4/conf/wg0/rp_filter", Old: "0", New: "1"},
		"filter":     apply.FilterChange{Link: "wg0", New: filter},
	}
	return changes
}

// TestEveryChange makes each change twice, checks that it has an effect, and undoes it
// twice.
func TestEveryChange(t *testing.T) {
	h, v := ready(t)
	j, err := journal.Open(h.journals, "wg0")
	must(t, err)
	observe := func() *apply.State {
		t.Helper()
		s, err := h.Observe(t.Context(), "wg0", v, j.Entries)
		must(t, err)
		return s
	}
	setSysctl(t, "net/ipv4/conf/wg0/rp_filter", "0")
	changes := everyChange(observe())
	text := dump(t)
	for name, c := range changes {
		old := observe()
		if name == "filter" && exec.Command("nft", "list", "ruleset").Run() != nil {
			t.Fatal("no nftables here")
		}
		for range 2 {
			must(t, h.Do(t.Context(), []apply.Change{c}))
		}
		if diff(text, dump(t)) == "" {
			t.Errorf("%s: %s changed nothing", name, c)
		}
		for range 2 {
			must(t, h.Do(t.Context(), c.Inverse()))
		}
		if d := cmp.Diff(old, observe(), equal...); d != "" {
			t.Errorf("%s: %s and back (-before +after):\n%s", name, c, d)
		}
		again := dump(t)
		if d := diff(text, again); d != "" {
			t.Errorf("%s: %s and back:\n%s", name, c, d)
		}
		text = again
	}
	t.Logf("%d changes; %s", len(changes), which())
}

// equal compares addresses as values, and lists regardless of their order.
var equal = []cmp.Option{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmpopts.IgnoreUnexported(firewall.Ruleset{}),
	cmpopts.SortSlices(func(a, b apply.Peer) bool { return a.PublicKey.String() < b.PublicKey.String() }),
	cmpopts.SortSlices(func(a, b netip.Prefix) bool { return a.Compare(b) < 0 }),
	cmpopts.SortSlices(func(a, b apply.Route) bool { return a.Prefix.Compare(b.Prefix) < 0 }),
	cmpopts.SortSlices(func(a, b apply.Proxy) bool { return a.Addr.Less(b.Addr) }),
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreFields(apply.Peer{}, "Received", "Sent"), // they grow by themselves
}

func setSysctl(t *testing.T, key, value string) {
	t.Helper()
	must(t, os.WriteFile("/proc/sys/"+key, []byte(value), 0o644))
}

// TestWGAgrees: wg(8) prints what the view says.
func TestWGAgrees(t *testing.T) {
	_, v := ready(t)
	for command, want := range map[string]string{
		"public-key":           v.PublicKey.String(),
		"listen-port":          "30567",
		"allowed-ips":          "10.0.0.2/32",
		"persistent-keepalive": v.Peers[0].PublicKey.String() + "\t25",
		"endpoints":            "198.51.100.2:51820",
		"preshared-keys":       strings.TrimSpace(string(applytest.PresharedKey("basalt").File())),
		"private-key":          strings.TrimSpace(string(applytest.PrivateKey(applytest.Own[0]).File())),
	} {
		if out := run(t, "wg", "show", "wg0", command); !strings.Contains(out, want) {
			t.Errorf("wg show wg0 %s does not say what it should", command)
		}
	}
}

// TestLastIPv4Address: with the last IPv4 address of a link the kernel removes the IPv4
// routes (fib_disable_ip), and with a primary address its secondary ones. The view wants to
// keep them.
func TestLastIPv4Address(t *testing.T) {
	h, v := ready(t)
	v.Addresses = applytest.Prefixes("10.0.0.1/24 10.0.0.9/24 2001:db8::1/64")
	h.apply(t, v)
	v.Addresses = applytest.Prefixes("10.0.0.9/24 2001:db8::1/64")
	h.apply(t, v)
	if plan, _ := h.plan(t, v); len(plan.Steps) > 0 {
		t.Errorf("the secondary address went along with its primary:\n%s", spelled(plan))
	}
	v.Addresses = applytest.Prefixes("2001:db8::1/64")
	h.apply(t, v)
	if plan, _ := h.plan(t, v); len(plan.Steps) > 0 {
		t.Errorf("the IPv4 routes went along with the last IPv4 address:\n%s", spelled(plan))
	}
}

// TestDefaultTable: a route of last resort, in the kernel's table 253, is recognised and
// removed again.
func TestDefaultTable(t *testing.T) {
	h := newHost(t)
	origin := dump(t)
	v := &tunnel.View{Tunnel: "wg0", Host: "basalt", PublicKey: publicKey(applytest.Own[0]),
		PrivateKeyFile: "/etc/wireguard/wg0.key", Table: 253,
		Peers: []tunnel.Peer{{Name: "shale", PublicKey: publicKey("basalt"), Endpoint: "192.0.2.1:51820",
			AllowedIPs: applytest.Prefixes("0.0.0.0/0")}},
		Routes: []tunnel.Route{{Prefix: prefix("0.0.0.0/0"), Peer: "shale"}}}
	h.apply(t, v)
	if out := run(t, "ip", "route", "get", "198.51.100.9"); !strings.Contains(out, "dev eth0") {
		t.Errorf("main comes first, but the route is %s", out)
	}
	run(t, "ip", "route", "del", "default", "table", "main")
	if out := run(t, "ip", "route", "get", "198.51.100.9"); !strings.Contains(out, "dev wg0") {
		t.Errorf("main has no route, and the one taken is %s", out)
	}
	run(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	if plan, _ := h.plan(t, v); len(plan.Steps) > 0 {
		t.Errorf("the second plan is not empty:\n%s", spelled(plan))
	}
	h.down(t)
	if d := diff(origin, dump(t)); d != "" {
		t.Errorf("down leaves\n%s", d)
	}
}

// TestRouteInTheWay: another interface has the route. Nothing is changed.
func TestRouteInTheWay(t *testing.T) {
	h := newHost(t)
	run(t, "ip", "-6", "route", "add", "2001:db8:7::/48", "via", "2001:db8:ffff::9", "dev", "eth0") // metric 1024
	v := &tunnel.View{Tunnel: "wg0", Host: "basalt", PublicKey: publicKey(applytest.Own[0]),
		PrivateKeyFile: "/etc/wireguard/wg0.key",
		Peers: []tunnel.Peer{{Name: "shale", PublicKey: publicKey("basalt"), Endpoint: "192.0.2.1:51820",
			AllowedIPs: applytest.Prefixes("2001:db8:7::/48")}},
		Routes: []tunnel.Route{{Prefix: prefix("2001:db8:7::/48"), Peer: "shale"}}}
	origin := dump(t)
	err := h.refused(t, v)
	if err == nil || !strings.Contains(err.Error(), "already a route") ||
		!strings.Contains(err.Error(), "2001:db8:7::/48") {
		t.Errorf("the conflict is reported as %v", err)
	}
	if d := diff(origin, dump(t)); d != "" {
		t.Errorf("a refused apply leaves\n%s", d)
	}
}

package apply_test

import (
	"net/netip"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

const besideTunnel = `[hosts.hub]
endpoint = "203.0.113.1"
addresses = ["10.9.0.1/24", "fd00:9::1/64"]
routes = ["192.168.0.0/16", "10.20.0.0/16", "fd00:20::/64"]
[hosts.a]
addresses = ["10.9.0.2/24", "fd00:9::2/64"]
`

// hampered is the plan for a host with hurdles.
func hampered(t *testing.T, v *tunnel.View, hurdles apply.Hurdles) (*apply.Plan, error) {
	t.Helper()
	h := newHost(t)
	h.install(v)
	j, others := h.journal(t, v.Tunnel)
	state, err := h.Observe(t.Context(), v.Tunnel, v, j.Entries)
	if err != nil {
		t.Fatal(err)
	}
	state.Hurdles, state.PortTaken = hurdles, hurdles.PortOwner != ""
	return apply.Make(v, state, j, others)
}

func otherRoute(prefix, link string, metric int, origin apply.Origin) apply.OtherRoute {
	return apply.OtherRoute{Route: apply.Route{Prefix: netip.MustParsePrefix(prefix), Metric: metric}, Link: link,
		Origin: origin}
}

// TestRoutesBeside: a route of another interface to a prefix of the tunnel's is reported,
// whichever of the two wins, and only one that is in the way keeps the tunnel's away.
func TestRoutesBeside(t *testing.T) {
	ours := "ip -4 route add 10.20.0.0/16 "
	for name, c := range map[string]struct {
		route         apply.OtherRoute
		finding, note string // what is reported
		fails         string
		without       string // the step that there is not
	}{
		"the same network": {route: otherRoute("10.20.0.0/16", "eth1", 0, apply.Network),
			finding: "10.20.0.0/16, INSIDE, of peer hub is not routed into the tunnel: it is also the network of eth1",
			without: ours},
		"the same network, lower": {route: otherRoute("10.20.0.0/16", "eth1", 600, apply.Network),
			note: "10.20.0.0/16, INSIDE, goes into the tunnel; eth1 has"},
		"the same network, IPv6": {route: otherRoute("fd00:20::/64", "eth1", 256, apply.Network),
			finding: "fd00:20::/64, INSIDE, does not go into the tunnel: eth1 has a route to it of metric 256, and the tunnel's has 1024"},
		"its own network": {route: otherRoute("10.9.0.0/24", "eth1", 0, apply.Network),
			finding: "network 10.9.0.0/24, INSIDE, is also that of eth1"},
		"a part": {route: otherRoute("192.168.1.0/24", "eth1", 100, apply.Network),
			note: "192.168.1.0/24, the network of eth1, is a part of 192.168.0.0/16, INSIDE"},
		"a part, by hand": {route: otherRoute("192.168.1.0/24", "eth1", 100, apply.ByHand)},
		"made by hand": {route: otherRoute("10.20.0.0/16", "eth1", 0, apply.ByHand),
			fails: "there is already a route through eth1 of the same metric"},
		"that leads nowhere": {route: otherRoute("10.20.0.0/16", "", 0, apply.ByHand),
			fails: "there is already a route that leads nowhere"},
		"of another tunnel": {route: apply.OtherRoute{Route: apply.Route{Prefix: netip.MustParsePrefix("10.20.0.0/16")}, Link: "wg1", Tunnel: true}, fails: "there is already a route through the tunnel wg1"},
		"of another table": {route: apply.OtherRoute{Route: apply.Route{Prefix: netip.MustParsePrefix("10.20.0.0/16"),
			Table: 7}, Link: "eth1"}},
		"IPv6's default, spelled": {route: otherRoute("fd00:20::/64", "eth1", 0, apply.ByHand),
			fails: "there is already a route through eth1"},
		"a larger one around ours": {route: otherRoute("10.0.0.0/8", "eth1", 0, apply.Network)},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := hampered(t, view(t, besideTunnel, "a", nil), apply.Hurdles{Routes: []apply.OtherRoute{c.route}})
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || len(fault.Hints(err)) != 1 {
					t.Errorf("%v, want %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mustSay(t, "findings", plan.Findings, c.finding)
			mustSay(t, "notes", plan.Notes, c.note)
			if has := strings.Contains(spelled(plan), ours); has != (c.without == "") {
				t.Errorf("the steps have %q: %v\n%s", ours, has, spelled(plan))
			}
			if !strings.Contains(spelled(plan), "ip -4 route add 192.168.0.0/16 ") {
				t.Errorf("the rest of the tunnel is not planned:\n%s", spelled(plan))
			}
		})
	}
}

// TestRoutesThatWin: a route that came after the tunnel's may win over it, by its preference or
// since the tunnel's is in a table that is looked into later.
func TestRoutesThatWin(t *testing.T) {
	preferred := otherRoute("fd00:20::/64", "eth1", 1024, apply.Network)
	preferred.Preferred = true
	aroundHub := strings.Replace(besideTunnel, "10.20.0.0/16", "203.0.113.0/24", 1)
	for name, c := range map[string]struct {
		text    string
		route   apply.OtherRoute
		finding string
	}{
		"preferred": {besideTunnel, preferred, "fd00:20::/64, INSIDE, does not go into the tunnel: eth1 has a route to it of " +
			"the same metric and a high preference, as routers advertise it. Give this tunnel's routes a lower metric: metric = 512"},
		"not preferred": {besideTunnel, otherRoute("fd00:20::/64", "eth1", 1024, apply.Network), ""},
		"around the endpoint": {aroundHub, otherRoute("203.0.113.0/24", "eth1", 100, apply.ByHand),
			"203.0.113.0/24, INSIDE, does not go into the tunnel: eth1 has a route to it, which comes first"},
		"a part of that": {aroundHub, otherRoute("203.0.113.64/26", "eth1", 100, apply.ByHand), ""},
	} {
		v := view(t, c.text, "a", nil)
		h := newHost(t)
		h.apply(t, v)
		j, others := h.journal(t, v.Tunnel)
		state, err := h.Observe(t.Context(), v.Tunnel, v, j.Entries)
		if err != nil {
			t.Fatal(err)
		}
		state.Hurdles.Routes = []apply.OtherRoute{c.route}
		plan, err := apply.Make(v, state, j, others)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		mustSay(t, name, plan.Findings, c.finding)
	}
}

// mustSay fails where list is not the one text that begins so, or nothing.
func mustSay(t *testing.T, about string, list []string, want string) {
	t.Helper()
	if want == "" && len(list) > 0 || want != "" && (len(list) != 1 || !strings.HasPrefix(list[0], want)) {
		t.Errorf("%s: %q, want %q", about, list, want)
	}
}

// TestForeseen: what the host cannot do is refused before anything is changed, with
// what can be done about it.
func TestForeseen(t *testing.T) {
	forwards := strings.Replace(besideTunnel, "[hosts.hub]", "[hosts.hub]\nforward = true", 1)
	fixed := map[string]string{"net/ipv4/ip_forward": apply.ReadOnlySysctls,
		"net/ipv6/conf/all/forwarding": apply.ReadOnlySysctls}
	for name, c := range map[string]struct {
		text, host string
		hurdles    apply.Hurdles
		says, hint string // no error where there is none
	}{
		"no right": {besideTunnel, "a", apply.Hurdles{NoRight: true}, "no right to change the network",
			"--cap-add NET_ADMIN"},
		"no WireGuard": {besideTunnel, "a", apply.Hurdles{NoTunnels: "this kernel has none"}, "this kernel has none",
			"modprobe"},
		"the port of a tunnel": {besideTunnel, "hub", apply.Hurdles{PortOwner: "tunnel wg1"},
			"tunnel wg1 has port 51820, OUTSIDE, already",
			"write another listen_port = under [hosts.hub] in tunnels/wg0.toml"},
		"the former port of a tunnel": {besideTunnel, "hub", apply.Hurdles{PortOwner: "tunnel wg1", PortLeft: true},
			"tunnel wg1 has left port 51820, OUTSIDE, and closes it within 15 s: run this again then", "wgkeys apply -t wg0"},
		"the port of a process": {besideTunnel, "hub", apply.Hurdles{PortOwner: "named (process 7)"},
			"named (process 7) has port 51820", "ss -ulpn"},
		"no IPv6": {besideTunnel, "a", apply.Hurdles{NoIPv6: "net.ipv6.conf.default.disable_ipv6 is 1"},
			"the address fd00:9::2/64, INSIDE", "ipv6 = false under [hosts.a]"},
		"no IPv6, asked": {strings.Replace(besideTunnel, "[hosts.a]", "[hosts.a]\nipv6 = false", 1), "a",
			apply.Hurdles{NoIPv6: apply.NoIPv6AtAll}, "", ""},
		"no IPv6, set": {strings.Replace(besideTunnel, "[hosts.a]",
			"[hosts.a]\nsysctls = { \"net.ipv6.conf.wg0.disable_ipv6\" = 0 }", 1), "a",
			apply.Hurdles{NoIPv6: "net.ipv6.conf.default.disable_ipv6 is 1"}, "", ""},
		"no IPv6 at all, set": {strings.Replace(besideTunnel, "[hosts.a]",
			"[hosts.a]\nsysctls = { \"net.ipv6.conf.wg0.disable_ipv6\" = 0 }", 1), "a", apply.Hurdles{NoIPv6: apply.NoIPv6AtAll},
			"this kernel runs without IPv6", "ipv6 = false"},
		"parameters read-only": {forwards, "hub", apply.Hurdles{Fixed: fixed},
			"it needs net.ipv4.ip_forward=1, net.ipv6.conf.all.forwarding=1",
			"--sysctl net.ipv4.ip_forward=1 --sysctl net.ipv6.conf.all.forwarding=1"},
		"read-only, not needed": {besideTunnel, "hub", apply.Hurdles{Fixed: fixed}, "", ""},
		"an address that is had": {besideTunnel, "a",
			apply.Hurdles{Addresses: []apply.OtherAddress{{Addr: netip.MustParseAddr("10.9.0.2"), Link: "eth1"}}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := hampered(t, view(t, c.text, c.host, nil), c.hurdles)
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says == "":
				if len(plan.Steps) == 0 || len(plan.Findings) != len(c.hurdles.Addresses) {
					t.Errorf("findings %q, %d steps", plan.Findings, len(plan.Steps))
				}
			case err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(strings.Join(fault.Hints(err), "; "),
				c.hint):
				t.Errorf("%v, hints %q; want %q, hint %q", err, fault.Hints(err), c.says, c.hint)
			}
		})
	}
}

// TestForwardingReadOnly: a container whose parameters are read-only forwards by what it was started
// with, and where it does not, that is what it is to be started with.
func TestForwardingReadOnly(t *testing.T) {
	v := view(t, strings.Replace(besideTunnel, "[hosts.hub]", "[hosts.hub]\nforward = true", 1), "hub", nil)
	const all, force = "net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/force_forwarding"
	for router, want := range map[string]string{"1": "", "0": "--sysctl net.ipv6.conf.all.forwarding=1"} {
		h := newHost(t)
		h.install(v)
		j, others := h.journal(t, v.Tunnel)
		state, err := h.Observe(t.Context(), v.Tunnel, v, j.Entries)
		if err != nil {
			t.Fatal(err)
		}
		state.Hurdles.Fixed = map[string]string{}
		for key, value := range map[string]string{all: router, "net/ipv6/conf/default/forwarding": router,
			"net/ipv4/ip_forward": "1", "net/ipv4/conf/eth0/forwarding": "1", "net/ipv4/conf/default/forwarding": "1",
			force: "0", "net/ipv6/conf/eth0/force_forwarding": "0"} {
			state.Sysctls[key] = value
		}
		for key := range state.Sysctls {
			state.Hurdles.Fixed[key] = apply.ReadOnlySysctls
		}
		_, err = apply.Make(v, state, j, others)
		if hints := strings.Join(fault.Hints(err), "; "); (err == nil) != (want == "") || !strings.Contains(hints, want) ||
			strings.Contains(hints, "force_forwarding") {
			t.Errorf("forwarding %s: %v, hints %q", router, err, hints)
		}
	}
}

// TestIPv6FirstOfAll: IPv6 is turned on for the link before the link gets addresses.
func TestIPv6FirstOfAll(t *testing.T) {
	text := strings.Replace(besideTunnel, "[hosts.a]", "[hosts.a]\nsysctls = { \"net.ipv6.conf.wg0.disable_ipv6\" = 0 }",
		1)
	plan, err := hampered(t, view(t, text, "a", nil), apply.Hurdles{NoIPv6: "net.ipv6.conf.default.disable_ipv6 is 1"})
	if err != nil {
		t.Fatal(err)
	}
	all := spelled(plan)
	on, address := strings.Index(all, "disable_ipv6=0"), strings.Index(all, "ip -6 address add")
	if on < 0 || address < on {
		t.Errorf("IPv6 is not turned on before there are addresses:\n%s", all)
	}
}

// TestBatchNamesTheChange: of changes that are made at once the error names the one
// that failed.
func TestBatchNamesTheChange(t *testing.T) {
	h := newHost(t)
	h.hook = func(m moment, _ int, c apply.Change) error {
		if r, ok := c.(apply.RouteChange); ok && m == before && r.New != nil && r.New.Prefix.String() == "192.168.0.0/16" {
			return &apply.ChangeError{Change: c, Err: errStop}
		}
		return nil
	}
	_, err := h.tryApply(t, view(t, besideTunnel, "a", nil))
	if err == nil || !strings.Contains(err.Error(), "ip -4 route add 192.168.0.0/16 dev wg0: "+errStop.Error()) ||
		strings.Contains(err.Error(), "10.20.0.0/16") {
		t.Error(err)
	}
}

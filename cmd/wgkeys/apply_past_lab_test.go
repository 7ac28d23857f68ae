package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// pastTunnel has a route to one address of each family.
const pastTunnel = `listen_port = 30567

[hosts.shale]
ssh       = "root@93.93.130.7"
endpoint  = "93.93.130.7"
addresses = ["10.7.0.1/24", "fd07::1/64"]

[hosts.basalt]
addresses = ["10.7.0.2/24", "fd07::2/64"]
`

// TestLabApplyPastTheTunnel: packets for a peer that the host itself keeps, or sends
// elsewhere, are reported by plan and status, and no longer once that is mended.
func TestLabApplyPastTheTunnel(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Tunnel(pastTunnel)
	u.Must(u.Basalt, "wgkeys apply -q")
	for _, c := range []struct{ name, set, unset, says string }{
		{"a rule", "ip rule add to 10.7.0.0/24 lookup 77 priority 500; ip route add default via 192.0.2.1 table 77",
			"ip rule del priority 500; ip route flush table 77",
			"10.7.0.1/32 is to go through wg0, and the kernel sends what is for 10.7.0.1 by eth0, past the tunnel"},
		{"a rule for IPv6, to nowhere", "ip -6 rule add to fd07::/64 prohibit priority 500", "ip -6 rule del priority 500",
			"fd07::1/128 is to go through wg0, and the kernel sends what is for fd07::1 nowhere"},
		{"its own address", "ip addr add 10.7.0.1/32 dev lo", "ip addr del 10.7.0.1/32 dev lo",
			"10.7.0.1, INSIDE, does not go to peer shale: it is an address of this host too, on lo"},
		{"IPsec to another site", "ip xfrm policy add dir out src 10.7.0.0/16 dst 10.0.0.0/8 tmpl src 192.0.2.2 dst 203.0.113.9 proto esp mode tunnel",
			"ip xfrm policy flush",
			"what this host sends to shale at 10.7.0.1, INSIDE, does not go into the tunnel: its IPsec policy for 10.0.0.0/8 sends it to 203.0.113.9 instead"},
		{"an IPv6 policy of few bits", "ip xfrm policy add dir out dst fd07::/32 action block", "ip xfrm policy flush",
			"what this host sends to shale at fd07::1, INSIDE, does not go into the tunnel: its IPsec policy for fd07::/32 blocks it"},
		{"IPsec that blocks the endpoint", "ip xfrm policy add dir out dst 93.93.130.7/32 proto udp dport 30567 action block",
			"ip xfrm policy flush", "nothing can be sent to shale at 93.93.130.7, OUTSIDE: an IPsec policy of this host blocks it"},
	} {
		u.Must(u.Basalt, c.set)
		plan, status := u.Run(u.Basalt, "wgkeys plan"), u.Run(u.Basalt, "wgkeys status basalt")
		if !strings.Contains(plan.Stderr, "finding: "+c.says) || status.Code != ui.ExitFindings ||
			!strings.Contains(status.Stdout, "! "+c.says) {
			t.Errorf("%s: plan says\n%sstatus exits %d, and says\n%s", c.name, plan.Stderr, status.Code, status.Stdout)
		}
		u.Must(u.Basalt, c.unset)
		if plan := u.Run(u.Basalt, "wgkeys plan"); strings.Contains(plan.Stderr, "finding:") {
			t.Errorf("%s: once it is mended, plan says\n%s", c.name, plan.Stderr)
		}
	}
}

// TestLabApplyGatewayInside: a gateway of the host's in a part of its network that the tunnel
// has a route to is reported, and no longer once it has a route of its own.
func TestLabApplyGatewayInside(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Tunnel(strings.Replace(pastTunnel, "\n[hosts.basalt]", "routes = [\"192.0.2.0/25\"]\n\n[hosts.basalt]", 1))
	const says = "192.0.2.1, the gateway of eth0, OUTSIDE, lies in 192.0.2.0/25, INSIDE"
	for _, command := range []string{"wgkeys plan", "wgkeys apply", "wgkeys plan"} {
		if r := u.Run(u.Basalt, command); !strings.Contains(r.Stderr, "finding: "+says) {
			t.Errorf("%s says\n%s", command, r.Stderr)
		}
	}
	_, hint, _ := strings.Cut(u.Run(u.Basalt, "wgkeys plan").Stderr, "or: ")
	hint, _, _ = strings.Cut(hint, "\n")
	u.Must(u.Basalt, hint)
	if r := u.Run(u.Basalt, "wgkeys plan"); r.Code != ui.ExitDone || strings.Contains(r.Stderr, says) {
		t.Errorf("after %q plan exits %d, and says\n%s", hint, r.Code, r.Stderr)
	}
}

// TestLabApplyMasqueradesByNothing: an uplink to masquerade on that is not there is reported.
func TestLabApplyMasqueradesByNothing(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	const says = "masquerade does nothing: this host has no interface "
	for uplinks, missing := range map[string]string{`["eth0"]`: "", `["wan"]`: "wan", `["eth0", "ppp0"]`: "",
		`["ppp0", "wan"]`: "ppp0, wan"} {
		u.Tunnel(strings.Replace(defaultRouteTunnel, "masquerade = true", "masquerade = "+uplinks, 1))
		r := u.Run(u.Basalt, "wgkeys plan shale")
		if found := strings.Contains(r.Stderr, "finding: "+says+missing+":"); found != (missing != "") {
			t.Errorf("%s: plan exits %d, and says\n%s", uplinks, r.Code, r.Stderr)
		}
	}
}

// TestLabApplyDefaultNowhere: where the host's own default route leads nowhere, the kernel does not
// pass over it to the tunnel's. The plan says so before anything is changed, and what to run.
func TestLabApplyDefaultNowhere(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Router, "ip address add "+internet4+"/32 dev lo")
	u.Tunnel(defaultRouteTunnel)
	u.Clone()
	u.Must(u.Basalt, "wgkeys apply -q shale; ip route del default; ip route add 93.93.130.0/24 via 192.0.2.1")
	const says = "0.0.0.0/0, INSIDE, does not go into the tunnel, nor anywhere else: the default route of this host leads nowhere, and comes first: "
	for _, kind := range []string{"unreachable", "blackhole", "prohibit"} {
		u.Must(u.Basalt, "ip route add "+kind+" default metric 4000")
		for _, command := range []string{"plan", "apply", "plan"} {
			r := u.Run(u.Basalt, "wgkeys "+command)
			if !strings.Contains(r.Stderr, "finding: "+says+"ip -4 route del default metric 4000\n") ||
				strings.Count(r.Stderr, "finding:") != 1 {
				t.Errorf("%s: %s exits %d: %s", kind, command, r.Code, r.Stderr)
			}
		}
		if r := u.Run(u.Basalt, "ping -n -c 1 -W 1 "+internet4); r.Code == 0 {
			t.Errorf("%s: the kernel passes over it", kind)
		}
		u.Must(u.Basalt, "ip -4 route del default metric 4000")
		u.Must(u.Basalt, "ping -n -c 1 -w 10 "+internet4)
		if r := u.Run(u.Basalt, "wgkeys plan"); strings.Contains(r.Stderr, "finding:") {
			t.Errorf("%s: once it is mended, plan says\n%s", kind, r.Stderr)
		}
		u.Must(u.Basalt, "wgkeys down -q")
	}
}

// TestLabApplyTwoUplinks: where rp_filter is strict a router takes what comes to it by the uplink
// alone by which it sends. The plan names the other one, and what its note says mends that.
func TestLabApplyTwoUplinks(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	if err := u.Link(u.Shale, "eth1", u.Router, "shale1"); err != nil {
		t.Fatal(err)
	}
	u.Must(u.Router, "ip address add 192.0.3.1/24 dev shale1")
	u.Must(u.Shale, "ip address add 192.0.3.7/24 dev eth1; ip route add default via 192.0.3.1 metric 900")
	file := strings.NewReplacer(`endpoint  = "93.93.130.7" `, `endpoint  = "192.0.3.7"`,
		"[hosts.basalt]", "[hosts.basalt]\nkeepalive = 5").Replace(demo.FirstTunnel)
	u.Tunnel(file)
	u.Must(u.Shale, "sysctl -w net.ipv4.conf.eth1.rp_filter=1")
	const says = "note: what comes from the internet by eth1 is dropped, since this host sends what is for there by eth0 (rp_filter): peers reach it by eth0 alone. By eth1 as well: "
	const mends = `sysctls = { "net.ipv4.conf.eth1.rp_filter" = 2 }`
	if r := u.Run(u.Basalt, "wgkeys plan shale"); !strings.Contains(r.Stderr, says+mends+" under [hosts.shale]\n") {
		t.Errorf("plan exits %d: %s", r.Code, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys apply -q")
	if r := u.Run(u.Basalt, "ping -6 -n -c 1 -W 2 "+demo.Internet); r.Code == 0 {
		t.Error("the kernel takes it")
	}
	u.Tunnel(strings.Replace(file, "forward   = true", "forward = true\n"+mends, 1))
	u.Must(u.Basalt, "wgkeys apply -q shale && ping -6 -n -c 1 -w 10 "+demo.Internet)
	if r := u.Run(u.Basalt, "wgkeys plan shale"); strings.Contains(r.Stderr, "note:") {
		t.Errorf("plan exits %d: %s", r.Code, r.Stderr)
	}
}

// TestLabApplyIPsecThrough: a policy of IPsec that blocks what a router forwards from its peers is
// reported, and one that blocks others, or comes behind one that passes them, is not.
func TestLabApplyIPsecThrough(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	lan := u.NewHost("lan")
	if err := u.Link(u.Shale, "eth1", lan, "eth0"); err != nil {
		t.Fatal(err)
	}
	u.Must(u.Shale, "ip address add 10.20.0.1/16 dev eth1")
	u.Must(lan, "ip address add 10.20.0.7/16 dev eth0; ip route add default via 10.20.0.1")
	u.Tunnel(strings.Replace(pastTunnel, "\n\n[hosts.basalt]",
		"\nroutes = [\"10.20.0.0/16\"]\nforward = true\n\n[hosts.basalt]", 1))
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys apply -q")
	const blocks = "ip xfrm policy add dir out src 10.7.0.0/24 dst 10.20.0.0/16 action block priority 100; "
	for _, c := range []struct {
		name, set string
		lost      bool
	}{
		{"none", "", false}, {"of them", blocks, true},
		{"of others", "ip xfrm policy add dir out src 10.8.0.0/24 dst 10.20.0.0/16 action block", false},
		{"behind one that passes", blocks + "ip xfrm policy add dir out src 10.7.0.0/16 dst 10.20.0.0/16 priority 1", false},
	} {
		u.Must(u.Shale, ": ; "+c.set)
		wait := "10"
		if c.lost {
			wait = "1"
		}
		if r := u.Run(u.Basalt, "ping -n -c 1 -w "+wait+" 10.20.0.7"); (r.Code != 0) != c.lost {
			t.Errorf("%s: ping exits %d", c.name, r.Code)
		}
		r := u.Run(u.Basalt, "wgkeys plan shale")
		if strings.Contains(r.Stderr, "finding: nothing that peers send to 10.20.0.0/16 through this host gets there: an IPsec policy of this host blocks it: ip xfrm policy\n") != c.lost {
			t.Errorf("%s: plan exits %d: %s", c.name, r.Code, r.Stderr)
		}
		u.Must(u.Shale, "ip xfrm policy flush")
	}
}

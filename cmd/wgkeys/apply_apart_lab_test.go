package main

import (
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// apartTunnel is a hub and two spokes. What basalt is allowed and what it routes are two
// things, and its address is point-to-point; flint routes nothing.
const apartTunnel = `listen_port = 30567

[hosts.shale]
ssh       = "root@198.51.100.6"
endpoint  = "198.51.100.6"
addresses = ["10.7.0.1/24", "fd00:7::1/64"]
routes    = ["192.168.5.0/24"]
forward   = true

[hosts.basalt]
addresses = ["10.7.0.2 peer 10.7.0.1/32", "fd00:7::2 peer fd00:7::1/128"]
peers     = ["shale"]
[hosts.basalt.peer.shale]
allowed_ips = ["10.7.0.0/16", "192.168.0.0/16", "fd00:7::/64"]
routes      = ["10.7.0.0/24", "192.168.5.0/24", "fd00:7::1/128"]

[hosts.flint]
ssh       = "root@198.51.100.10"
addresses = ["10.7.0.3/24"]
peers     = ["shale"]
table     = "off"
[hosts.flint.peer.shale]
allowed_ips = ["10.7.0.0/24", "192.168.5.0/24"]
`

// An apart is that tunnel, and a network behind the hub that knows nothing of it.
type apart struct {
	*labtest.Mesh
	flint, lan *lab.Host
	before     map[string]string // how the hosts were without the tunnel
}

func newApart(t *testing.T) *apart {
	u := &apart{Mesh: labtest.NewMesh(t, labtest.MeshOptions{Hosts: 3}), before: map[string]string{}}
	u.flint, u.lan = u.Hosts[2], u.NewHost("lan")
	if err := u.Link(u.lan, "eth0", u.Shale, "lan0"); err != nil {
		t.Fatal(err)
	}
	u.Must(u.lan, "ip address add 192.168.5.2/24 dev eth0; ip route add 10.7.0.2 via 192.168.5.1")
	u.Must(u.Shale, "ip address add 192.168.5.1/24 dev lan0")
	for _, h := range u.Hosts {
		u.Must(h, "wgkeys down -q")
		u.before[h.Name()] = u.Snapshot(h)
	}
	u.apply(apartTunnel, u.Hosts...)
	return u
}

// apply has hosts as text says, and wants that a second apply has nothing to do.
func (u *apart) apply(text string, hosts ...*lab.Host) (steps string) {
	u.Helper()
	u.Tunnel(text)
	for _, h := range hosts {
		steps += u.Must(u.Basalt, "wgkeys apply "+h.Name())
		if r := u.Run(u.Basalt, "wgkeys plan "+h.Name()); r.Code != 0 || r.Stdout != "" {
			u.Errorf("the second plan of %s exits %d:\n%s%s", h.Name(), r.Code, r.Stdout, r.Stderr)
		}
	}
	return steps
}

// hub is the tunnel with more lines for the hub.
func (u *apart) hub(lines string) string {
	u.Helper()
	return u.apply(strings.Replace(apartTunnel, "forward   = true\n", "forward   = true\n"+lines+"\n", 1), u.Shale)
}

func (u *apart) pings(h *lab.Host, addr string, want bool, when string) {
	u.Helper()
	limit := map[bool]string{true: "20", false: "1"}[want]
	if r := u.Run(h, "ping -n -q -c 1 -w "+limit+" "+addr); (r.Code == 0) != want {
		u.Errorf("%s: %s reaches %s: %v, want %v", when, h.Name(), addr, r.Code == 0, want)
	}
}

// TestLabApplyApart: routes are others than allowed IPs, peers are kept apart and let
// together again without a packet lost, networks go into the tunnel under the hub's
// address, and down leaves nothing.
func TestLabApplyApart(t *testing.T) {
	t.Parallel()
	u := newApart(t)
	u.Want("basalt's addresses", u.Must(u.Basalt, "ip -4 address show dev wg0"),
		"inet 10.7.0.2 peer 10.7.0.1/32 scope global wg0")
	u.Want("basalt's addresses", u.Must(u.Basalt, "ip -6 address show dev wg0"),
		"inet6 fd00:7::2 peer fd00:7::1/128 scope global")
	if allowed := u.Must(u.Basalt, "wg show wg0 allowed-ips"); !strings.Contains(allowed,
		"10.7.0.0/16 192.168.0.0/16 fd00:7::/64") {
		t.Errorf("basalt allows %s", allowed)
	}
	u.Want("basalt's routes", u.Must(u.Basalt, "ip -4 route show dev wg0"), "10.7.0.0/24 proto static scope link",
		"10.7.0.1 proto kernel scope link src 10.7.0.2", "192.168.5.0/24 proto static scope link")
	if routes := u.Must(u.Basalt, "ip -4 route show table all dev wg0 type unicast"); strings.Contains(routes, "/16") {
		t.Errorf("basalt routes what it allows: %s", routes)
	}
	routes := u.Must(u.flint, "ip route show table all dev wg0 type unicast")
	if strings.TrimSpace(routes) != "10.7.0.0/24 proto kernel scope link src 10.7.0.3" {
		t.Errorf("flint, whose table is off, has the routes %s", routes)
	}
	u.pings(u.Basalt, "10.7.0.1", true, "at first")
	u.pings(u.Basalt, "fd00:7::1", true, "at first")
	u.pings(u.flint, "10.7.0.1", true, "at first")
	u.pings(u.Basalt, "10.7.0.3", true, "at first")
	u.isolates()
	u.masquerades()
	for _, h := range u.Hosts {
		u.Must(h, "wgkeys down -q")
		u.Same(h, u.before[h.Name()], "after down")
	}
}

func (u *apart) isolates() {
	u.Helper()
	flows := u.Flows(u.Basalt, u.Shale, "10.7.0.2", "10.7.0.1", 2*time.Millisecond)
	labtest.WaitFlowing(u.T, flows[:]...)
	for range 3 {
		if steps := u.hub("isolate = true"); !strings.Contains(steps,
			"nft add table inet wgkeys-wg0 { iifname wg0 oifname wg0 drop }") {
			u.Errorf("the steps do not tell: %s", steps)
		}
		u.pings(u.Basalt, "10.7.0.3", false, "isolated")
		u.pings(u.flint, "10.7.0.2", false, "isolated")
		u.pings(u.Basalt, "192.168.5.1", true, "isolated")
		u.pings(u.lan, "10.7.0.2", true, "isolated")
		u.hub("")
		u.pings(u.Basalt, "10.7.0.3", true, "together again")
	}
	for _, f := range flows {
		tally := f.Count()
		u.Logf("%s: %v", f.Name, tally)
		if tally.Lost > 0 || tally.Sent == 0 {
			u.Errorf("%s: %v%s", f.Name, tally, f.Refusals())
		}
	}
}

func (u *apart) masquerades() {
	u.Helper()
	u.Must(u.flint, `nft 'table inet seen { chain c { type filter hook input priority 0; iifname wg0 ip saddr 10.7.0.1 icmp type echo-request counter; iifname wg0 ip saddr != 10.7.0.1 counter; }; }'`)
	u.Must(u.lan, "ip route add 10.7.0.3 via 192.168.5.1")
	u.pings(u.lan, "10.7.0.3", false, "without masquerading")
	u.hub(`masquerade = "tunnel"`)
	u.pings(u.lan, "10.7.0.3", true, "into the tunnel")
	if seen := u.Must(u.flint, "nft list chain inet seen c"); !strings.Contains(seen, "echo-request counter packets 1 ") {
		u.Errorf("flint has not seen the hub's address, INSIDE:\n%s", seen)
	}
	u.pings(u.Basalt, "10.7.0.3", true, "into the tunnel, from peer to peer")
	if seen := u.Must(u.flint, "nft list chain inet seen c"); strings.Contains(seen, "!= 10.7.0.1 counter packets 0 ") {
		u.Errorf("flint has not seen its peer's own address:\n%s", seen)
	}
	u.Must(u.flint, "nft delete table inet seen")
	u.Must(u.lan, "ip route del 10.7.0.2 && ip route del 10.7.0.3")
	u.hub(`masquerade = ["eth0", "tunnel"]`)
	u.pings(u.Basalt, "192.168.5.2", false, "by another uplink")
	u.hub(`masquerade = ["eth0", "lan0"]`)
	u.pings(u.Basalt, "192.168.5.2", true, "by this uplink")
}

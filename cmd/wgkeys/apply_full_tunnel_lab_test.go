package main

import (
	"fmt"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
	"wgkeys/keyring/lazyregexp"
)

// wholeTunnel sends everything of basalt's through shale, both families, over IPv4.
const wholeTunnel = `listen_port = 30567

[hosts.shale]
ssh        = "root@93.93.130.7"
endpoint   = "93.93.130.7"
addresses  = ["10.7.0.1/24"]
routes     = ["0.0.0.0/0", "::/0"]
forward    = true
masquerade = true

[hosts.basalt]
addresses  = ["10.7.0.2/24", "2001:db8:7767::2/128"]
`

// A fullUsers is the first users with a full tunnel. Basalt has IPv6 of its own,
// which a network manager gave a low metric, a second uplink, and a container.
type fullUsers struct {
	*labtest.Users
	container *lab.Host
}

func newFullUsers(t *testing.T) *fullUsers {
	u := &fullUsers{Users: labtest.NewUsers(t)}
	u.Tunnel(wholeTunnel)
	u.Clone()
	var err error
	if u.container, err = u.Host("container"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		u.Link(u.container, "eth0", u.Basalt, "docker0"),
		u.Link(u.Basalt, "eth1", u.Router, "basalt1"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	// A router asks for its neighbours from an address that it has on their link.
	u.Must(u.Router, "sysctl -w net.ipv4.conf.all.arp_announce=2; ip -6 route add 2001:db8:5::/64 dev shale0; ip address add "+internet4+"/32 dev lo; ip address add 2001:db8:b::1/64 dev basalt0; ip address add 192.0.3.1/24 dev basalt1")
	u.Must(u.Router, `nft 'table inet seen { chain c { type filter hook prerouting priority -300; iifname { basalt0, basalt1 } icmp type echo-request counter; iifname { basalt0, basalt1 } icmpv6 type echo-request counter; iifname basalt1 udp dport 5060 counter; }; }'`)
	u.Must(u.Basalt, "ip address add 2001:db8:b::2/64 dev eth0; ip -6 route add default via 2001:db8:b::1 metric 100; ip address add 192.0.2.11/24 dev eth0")
	u.Must(u.Basalt, "ip address add 172.17.0.1/16 dev docker0; sysctl -w net.ipv4.ip_forward=1 net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.eth1.rp_filter=1")
	u.Must(u.Basalt, "nft 'table ip docker { chain c { type nat hook postrouting priority 100; oifname != docker0 ip saddr 172.17.0.0/16 ct direction original ct state new masquerade; }; }'")
	u.Must(u.container, "ip address add 172.17.0.2/16 dev eth0; ip route add default via 172.17.0.1")
	u.Must(u.Router, "ip route add 172.17.0.0/16 via 192.0.2.10; ip route add 10.7.0.2 via 192.0.2.10")
	return u
}

// pings has a host reach addresses, one packet each, and fails where it is otherwise.
func (u *fullUsers) pings(h *lab.Host, want bool, when string, addrs ...string) {
	u.Helper()
	for _, addr := range addrs {
		limit := map[bool]string{true: "15", false: "1"}[want]
		if r := u.Run(h, "ping -n -q -c 1 -w "+limit+" "+addr); (r.Code == 0) != want {
			u.Errorf("%s: %s reaches %s: %v, want %v", when, h.Name(), addr, r.Code == 0, want)
		}
	}
}

var countedPackets = lazyregexp.New(`packets (\d+)`)

// seen are the packets that came to the router by basalt's uplinks in the clear:
// requests of either family, and those to port 5060 by the second one.
func (u *fullUsers) seen() (clear, policy string) {
	u.Helper()
	n := countedPackets().FindAllStringSubmatch(u.Must(u.Router, "nft list chain inet seen c"), -1)
	if len(n) != 3 {
		u.Fatalf("%d counters", len(n))
	}
	return n[0][1] + " + " + n[1][1], n[2][1]
}

// nothingSeen fails where a request has left in the clear.
func (u *fullUsers) nothingSeen(when string) {
	u.Helper()
	if clear, _ := u.seen(); clear != "0 + 0" {
		u.Errorf("%s: %s packets in the clear, of IPv4 and IPv6", when, clear)
	}
}

const killDevice = `for p in /proc/[0-9]*; do case "$(tr '\0' ' ' <$p/cmdline 2>/dev/null)" in wgkeys-device*) kill -9 ${p#/proc/};; esac; done
	ip link del wg0 2>/dev/null; while ip link show wg0 2>/dev/null; do :; done`

// TestLabApplyFullTunnel: with both default routes through the tunnel nothing leaves in the
// clear, whatever else the host learns and whatever becomes of the interface; what
// comes in by an uplink is answered by it; other programs' marks are theirs.
func TestLabApplyFullTunnel(t *testing.T) {
	t.Parallel()
	u := newFullUsers(t)
	origin := u.Snapshot(u.Basalt)
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys apply -q")
	u.pings(u.Basalt, true, "at first", internet4, demo.Internet)
	u.nothingSeen("at first")
	if err := u.Basalt.StartSSHD(t.Context()); err != nil {
		t.Fatal(err)
	}
	u.answersSSH("at first")
	u.learnsRoutes()
	u.answers()
	u.checksPaths()
	u.marksOfOthers()
	u.guards()
	u.loses()
	u.goesAstray()
	u.Must(u.Basalt, "wgkeys down && ip route del default via 192.0.3.1 && ip address del 192.0.3.10/24 dev eth1")
	u.Same(u.Basalt, origin, "after down")
}

// learnsRoutes: what routers and DHCP servers give out takes nothing away.
func (u *fullUsers) learnsRoutes() {
	u.Helper()
	for _, r := range []struct{ name, route string }{
		{"an RA of high preference", "-6 route add default via 2001:db8:b::1 dev eth0 metric 50 pref high"},
		{"a second uplink", "-4 address add 192.0.3.10/24 dev eth1 && ip -4 route append default via 192.0.3.1 dev eth1"},
		{"half of everything by DHCP", "-4 route add 128.0.0.0/1 via 192.0.2.1"},
		{"RFC 4191's route to all that is", "-6 route add 2000::/3 via 2001:db8:b::1 dev eth0"},
	} {
		u.Must(u.Basalt, "ip "+r.route)
		u.pings(u.Basalt, true, r.name, internet4, demo.Internet)
		u.nothingSeen(r.name)
		if plan := u.Run(u.Basalt, "wgkeys plan"); plan.Code != ui.ExitDone || strings.Contains(plan.Stderr, "finding") {
			u.Errorf("%s: plan exits %d\n%s%s", r.name, plan.Code, plan.Stdout, plan.Stderr)
		}
		if !strings.Contains(r.route, "eth1") { // which stays
			u.Must(u.Basalt, "ip "+strings.Replace(r.route, "add", "del", 1))
		}
	}
}

// checksPaths: firewalld and NixOS check the reverse path themselves, as early as the
// raw table and with the packet's mark.
func (u *fullUsers) checksPaths() {
	u.Helper()
	u.Must(u.Basalt, "nft 'table inet paths { chain c { type filter hook prerouting priority raw + 10; meta l4proto { tcp, udp } fib saddr . mark . iif oif missing drop; }; }'")
	u.Must(u.Basalt, "wgkeys down -q && wgkeys apply -q")
	u.pings(u.Basalt, true, "with another check of the reverse path", internet4, demo.Internet)
	u.answersSSH("with another check of the reverse path")
	u.Must(u.Basalt, "nft delete table inet paths")
}

// answers: of the host itself, and of a container that is reached by its own
// address or by a port of the host's, where the reverse path check is strict.
func (u *fullUsers) answers() {
	u.Helper()
	u.Must(u.Basalt, "nft 'table ip ports { chain c { type nat hook prerouting priority -100; ip daddr 192.0.2.11 dnat to 172.17.0.2; }; }'")
	u.pings(u.Router, true, "an answer by the uplink", "-I "+internet4+" 192.0.2.10", "-I "+demo.Internet+" 2001:db8:b::2",
		"-I "+internet4+" 172.17.0.2", "-I "+internet4+" 192.0.2.11")
	u.Must(u.Basalt, "nft delete table ip ports")
	u.pings(u.container, true, "through the tunnel", internet4)
	u.nothingSeen("a container")
}

// answersSSH: whoever comes by an uplink from elsewhere finds the way in.
func (u *fullUsers) answersSSH(when string) {
	u.Helper()
	for _, addr := range []string{"192.0.2.10", "2001:db8:b::2"} {
		if r := u.Run(u.Shale, "timeout 10 bash -c 'exec 3<>/dev/tcp/"+addr+"/22 && head -c 4 <&3'"); r.Stdout != "SSH-" {
			u.Errorf("%s: ssh to %s: exit %d, %q %s", when, addr, r.Code, r.Stdout, r.Stderr)
		}
	}
}

// marksOfOthers: their rules do not drop the encrypted packets, what they add to a
// mark does not take a packet elsewhere, and their own marks stay.
func (u *fullUsers) marksOfOthers() {
	u.Helper()
	for _, bits := range []string{"0x8000", "0x4000", "0x2000", "0x0f00", "0x3f00", "0xff0000", "0xffff0000"} {
		u.Must(u.Basalt, fmt.Sprintf(`nft 'table inet others { chain c { type filter hook output priority 0; meta mark & %s != 0 drop; }; }'`, bits))
		u.pings(u.Basalt, true, "who drops "+bits, "-W 2 "+internet4)
		u.Must(u.Basalt, "nft delete table inet others")
	}
	u.Must(u.Basalt, `nft 'table inet others { chain c { type route hook output priority -149; meta mark set meta mark or 0x4f0000; }; }'`)
	u.pings(u.Basalt, true, "who adds to each mark", internet4, demo.Internet)
	u.Must(u.Basalt, "nft delete table inet others")
	u.nothingSeen("who adds to each mark")

	u.Must(u.Basalt, `ip rule add fwmark 0x100/0xff00 lookup 100 priority 1000; ip route add default via 192.0.3.1 table 100
		nft 'table ip others { chain c { type filter hook prerouting priority -150; iifname docker0 udp dport 5060 ct mark set 0x2f00 meta mark set 0x100; }; chain d { type filter hook postrouting priority 0; ct mark 0x2f00 meta l4proto udp counter; }; }'`)
	u.Must(u.container, "bash -c 'for i in 1 2 3; do echo >/dev/udp/"+internet4+"/5060; done'")
	if _, policy := u.seen(); policy != "3" {
		u.Errorf("of 3 packets that another program routes, %s went its way", policy)
	}
	if out := u.Must(u.Basalt, "nft list chain ip others d"); !strings.Contains(out, "packets 3 ") {
		u.Errorf("the mark of its connections is another:\n%s", out)
	}
	u.Must(u.Basalt, "nft delete table ip others; ip rule del priority 1000; ip route flush table 100")
}

// guards: a container may reach the INSIDE address, and nobody on an uplink.
func (u *fullUsers) guards() {
	u.Helper()
	u.pings(u.container, true, "the guard", "10.7.0.2")
	u.pings(u.Router, false, "the guard", "10.7.0.2")
	u.Must(u.Router, "ip route replace 10.7.0.2 via 192.0.3.10")
	u.pings(u.Router, false, "the guard of the second uplink", "10.7.0.2")
}

// loses: without the interface nothing leaves, and status says why.
func (u *fullUsers) loses() {
	u.Helper()
	u.Must(u.Basalt, killDevice)
	u.pings(u.Basalt, false, "without the interface", internet4, demo.Internet)
	u.pings(u.container, false, "without the interface", internet4)
	u.nothingSeen("without the interface")
	u.answersSSH("without the interface")
	status := u.Run(u.Basalt, "wgkeys status basalt")
	if status.Code != ui.ExitFindings || !strings.Contains(status.Stdout, "the tunnel is down: ") ||
		!strings.Contains(status.Stdout, "wgkeys apply basalt") {
		u.Errorf("status exits %d, and says\n%s%s", status.Code, status.Stdout, status.Stderr)
	}
	u.Must(u.Basalt, "wgkeys apply -q")
	u.pings(u.Basalt, true, "with the interface again", internet4, demo.Internet)
	u.nothingSeen("with the interface again")
}

// goesAstray: where another program's rule comes first, whoever asks is told.
func (u *fullUsers) goesAstray() {
	u.Helper()
	u.Must(u.Basalt, "ip rule add priority 1000 lookup 100; ip route add default via 192.0.3.1 table 100")
	const found = "0.0.0.0/0 is to go through wg0, and the kernel sends what is for "
	plan, status := u.Run(u.Basalt, "wgkeys plan"), u.Run(u.Basalt, "wgkeys status basalt")
	if !strings.Contains(plan.Stderr, "finding: "+found) || status.Code != ui.ExitFindings ||
		!strings.Contains(status.Stdout, "! "+found) {
		u.Errorf("plan says\n%sstatus exits %d, and says\n%s", plan.Stderr, status.Code, status.Stdout)
	}
	u.Tunnel(strings.Replace(wholeTunnel, "[hosts.basalt]\n", "[hosts.basalt]\nkill_switch = false\n", 1))
	if apply := u.Run(u.Basalt, "wgkeys apply"); !strings.Contains(apply.Stderr, "finding: "+found) ||
		!strings.Contains(apply.Stdout, "route del unreachable ::/0") {
		u.Errorf("apply says\n%s%s", apply.Stdout, apply.Stderr)
	}
	u.Must(u.Basalt, "ip rule del priority 1000; ip route flush table 100")
}

// TestLabApplyEndpointInRoute: an endpoint in a prefix that the tunnel routes is as good by
// its address as by its name, and one in the network of an INSIDE address is not.
func TestLabApplyEndpointInRoute(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "echo 93.93.130.7 shale.example.net >>/etc/hosts; echo 10.7.0.99 inside.example.net >>/etc/hosts; ip route add 93.0.0.0/8 via 192.0.2.1")
	before := u.Snapshot(u.Basalt)
	file := strings.Replace(defaultRouteTunnel, "0.0.0.0/0", "93.93.130.0/24", 1)
	for _, endpoint := range []string{"93.93.130.7", "shale.example.net"} {
		u.Tunnel(strings.Replace(file, `"93.93.130.7"`, `"`+endpoint+`"`, 2))
		u.Must(u.Basalt, "sed -i '/^ssh/s/=.*/= \"root@93.93.130.7\"/' tunnels/wg0.toml && wgkeys apply -q shale && wgkeys apply -q && ping -n -q -c 1 -w 15 10.7.0.1")
		for destination, dev := range map[string]string{"93.93.130.77": "dev wg0", "93.93.130.7": "dev wg0",
			demo.ShaleAddr + " mark 0x57": "dev eth0", "93.1.1.1": "dev eth0"} {
			if route := u.Must(u.Basalt, "ip route get "+destination); !strings.Contains(route, dev) {
				t.Errorf("%s: the route to %s is not by %s: %s", endpoint, destination, dev, route)
			}
		}
		u.Must(u.Basalt, "wgkeys down")
		u.Same(u.Basalt, before, "after "+endpoint)
	}
	inside := func(endpoint string) labtest.Result {
		u.Tunnel(strings.Replace(file, `endpoint   = "93.93.130.7"`, `endpoint   = "`+endpoint+`"`, 1))
		return u.Run(u.Basalt, "wgkeys apply")
	}
	if r := inside("10.7.0.99"); r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "INSIDE") ||
		!strings.Contains(r.Stderr, "hint: write the address") {
		t.Errorf("an address INSIDE: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Same(u.Basalt, before, "after an address INSIDE was refused")
	// A name is its peer's trouble alone, for it may lead elsewhere tomorrow.
	if r := inside("inside.example.net"); r.Code != ui.ExitDone ||
		!strings.Contains(r.Stderr, "it leads to 10.7.0.99, INSIDE") {
		t.Errorf("a name that leads INSIDE: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if endpoint := u.Must(u.Basalt, "wg show wg0 endpoints"); !strings.Contains(endpoint, "(none)") {
		t.Errorf("a name that leads INSIDE is the endpoint: %s", endpoint)
	}
	u.Must(u.Basalt, "wgkeys down")
	u.Same(u.Basalt, before, "after a name that leads INSIDE")
}

// TestLabApplyDefaultInPieces: a default route that is written as all but somebody's networks
// has pieces that are no wider than /8, and is one all the same: without the interface
// nothing of it leaves in the clear, but for what is private.
func TestLabApplyDefaultInPieces(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "ip route replace default via 192.0.2.1")
	before := u.Snapshot(u.Basalt)
	const pieces = `"8.0.0.0/7", "11.0.0.0/8", "193.0.0.0/16", "193.0.7.0/24", "10.20.0.0/16"`
	u.Tunnel(strings.Replace(defaultRouteTunnel, `"0.0.0.0/0"`, pieces, 1))
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys apply -q && ping -n -q -c 1 -w 15 10.7.0.1")
	if r := u.Run(u.Basalt, "wgkeys plan"); r.Code != ui.ExitDone || r.Stdout != "" {
		t.Errorf("a second plan: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	ways := func(when string, want map[string]string) {
		t.Helper()
		for address, way := range want {
			if got := u.Must(u.Basalt, "ip route get "+address+" 2>&1; true"); !strings.Contains(got, way) {
				t.Errorf("%s the way to %s is %s, want %s", when, address, got, way)
			}
		}
	}
	const nowhere = "No route to host"
	ways("with the tunnel", map[string]string{"8.1.1.1": "dev wg0", "11.1.1.1": "dev wg0", "193.0.1.1": "dev wg0",
		"193.0.7.1": "dev wg0", "10.20.0.1": "dev wg0", "193.1.1.1": "dev eth0"})
	u.Must(u.Basalt, "ip link del wg0")
	ways("without", map[string]string{"8.1.1.1": nowhere, "11.1.1.1": nowhere, "193.0.1.1": nowhere, "193.0.7.1": nowhere,
		"10.20.0.1": "dev eth0", "193.1.1.1": "dev eth0"})
	u.Must(u.Basalt, "wgkeys apply -q")
	ways("again", map[string]string{"11.1.1.1": "dev wg0", "193.0.1.1": "dev wg0"})
	u.Must(u.Basalt, "wgkeys down")
	u.Same(u.Basalt, before, "after pieces")
}

// TestLabApplySessionsOpenBefore: whoever is connected to basalt when everything of its goes
// through the tunnel stays so, also where connection tracking had no reason to run so
// far and basalt is the first to speak.
func TestLabApplySessionsOpenBefore(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Tunnel(wholeTunnel)
	u.Clone()
	u.Must(u.Router, "ip address add 2001:db8:b::1/64 dev basalt0; ip -6 route add 2001:db8:5::/64 dev shale0")
	u.Must(u.Basalt, "ip address add 2001:db8:b::2/64 dev eth0 nodad; ip -6 route add default via 2001:db8:b::1")
	if err := u.Basalt.Install("standin-speaker", "/proc/self/exe"); err != nil {
		t.Fatal(err)
	}
	u.Must(u.Basalt, "standin-speaker 2222 /root/speak </dev/null >/dev/null 2>&1 & while ! ss -ltn | grep -q :2222; do sleep 0.1; done")
	for name, addr := range map[string]string{"four": "192.0.2.10", "six": "2001:db8:b::2"} {
		u.Must(u.Shale, "timeout 60 bash -c 'exec 3<>/dev/tcp/"+addr+"/2222 && head -n 1 <&3 >/root/"+name+
			"' </dev/null >/dev/null 2>&1 &")
	}
	u.Must(u.Basalt, "while [ $(ss -tnH state established sport = 2222 | wc -l) != 2 ]; do sleep 0.1; done")
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys apply -q && touch /root/speak")
	for _, name := range []string{"four", "six"} {
		heard := func() bool { return u.Run(u.Shale, "cat /root/"+name).Stdout == "spoken\n" }
		if u.Eventually(heard); !heard() {
			t.Errorf("the session over IPv%s hangs\n%s", name, u.Run(u.Basalt, "ss -tno sport = 2222; nft list ruleset").Stdout)
		}
	}
}

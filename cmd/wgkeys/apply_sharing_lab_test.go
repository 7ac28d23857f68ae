package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// secondTunnel is one more on the same hosts, which needs of shale what the
// first one needs.
const secondTunnel = `listen_port = 30568

[hosts.shale]
ssh       = "root@93.93.130.7"
endpoint  = "93.93.130.7"
addresses = ["2001:db8:8888::1/128"]
forward   = true

[hosts.basalt]
addresses = ["2001:db8:8888::2/128"]
`

// withSecond adds the second tunnel, and its keys.
func withSecond(u *labtest.Users, text string) {
	u.Helper()
	u.Write(u.Basalt, "/root/net/tunnels/wg1.toml", text)
	u.Must(u.Basalt, "test -e keyring/shale/wg1.pub || { wgkeys -t wg1 gen basalt shale && wgkeys -t wg1 push basalt shale; }")
	u.Clone()
}

func withoutSecond(u *labtest.Users) {
	u.Helper()
	u.Must(u.Basalt, "rm -f tunnels/wg1.toml keyring/*/wg1.pub vault/*/wg1.key.age /etc/wireguard/wg1.key")
	u.Must(u.Shale, "rm -f tunnels/wg1.toml keyring/*/wg1.pub /etc/wireguard/wg1.key")
}

// A damaged journal is the trouble of its own tunnel. The others are warned,
// and keep what can be read of it.
func TestLabDownDamagedJournal(t *testing.T) {
	u := labtest.FirstUsers(t)
	withSecond(u, secondTunnel)
	defer withoutSecond(u)
	before := u.Snapshot(u.Shale)
	u.Must(u.Shale, "wgkeys apply -t wg1 && cp /run/wgkeys/wg1.journal /run/good && echo rubbish >>/run/wgkeys/wg1.journal")
	said := `cannot read the journal "/run/wgkeys/wg1.journal": it is damaged`
	for _, command := range []string{"apply", "plan", "down"} {
		r := u.Run(u.Shale, "wgkeys "+command+" -t wg1")
		if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "error: "+said) ||
			!strings.Contains(r.Stderr, "hint: a reboot clears it") {
			t.Errorf("%s of the tunnel itself: exit %d\n%s", command, r.Code, r.Stderr)
		}
		r = u.Run(u.Shale, "wgkeys "+command+" -t wg0")
		if r.Code != ui.ExitDone || !strings.Contains(r.Stderr, "warning: "+said+"; wg1 may need what wg0 puts back") {
			t.Errorf("%s of the other tunnel: exit %d\n%s", command, r.Code, r.Stderr)
		}
	}
	if got := u.Must(u.Shale, "sysctl -n "+forwardingOf(u)+" net.ipv6.conf.eth0.accept_ra"); got != "1\n2\n" &&
		(!forcesForwarding(u) || got != "1\n1\n") {
		t.Errorf("wg0 took away what wg1 needs, which can be read in its journal: %q", got)
	}
	u.Must(u.Shale, "mv /run/good /run/wgkeys/wg1.journal && wgkeys down -t wg1")
	u.Same(u.Shale, before, "after both are down")
}

// What is counted is what was shown: what a second tunnel only shares is in the
// journal, and no step to a person.
func TestLabPlanCountsWhatItShows(t *testing.T) {
	u := labtest.FirstUsers(t)
	withSecond(u, secondTunnel)
	defer withoutSecond(u)
	for _, command := range []string{"apply -t wg0", "apply -t wg1", "down -t wg0", "down -t wg1"} {
		r := u.Run(u.Shale, "wgkeys "+command)
		shown := strings.Count(r.Stdout, "\n")
		want := ": done, " + ui.Plural(shown, "step")
		if r.Code != ui.ExitDone || shown == 0 || !strings.Contains(r.Stderr, want+"\n") {
			t.Errorf("%s exits %d, shows %d steps and says %s", command, r.Code, shown, r.Stderr)
		}
	}
}

// Things of others on the host, and on our own interface. Those of the first
// kind are before apply; those of the second come between two applies.
const (
	foreignOnHost = `ip -4 route add 10.99.0.0/16 dev eth0
ip address add 203.0.113.9/32 dev eth0
ip -6 rule add from 2001:db8:dddd::/48 table 7767 priority 500
ip -4 rule add table main suppress_prefixlength 0 priority 32000
nft 'table inet foreign { chain c { type filter hook forward priority 0; ip6 daddr 2001:db8:dddd::/48 accept; }; }'`

	unforeignOnHost = `nft delete table inet foreign
ip -4 rule del priority 32000
ip -6 rule del priority 500
ip address del 203.0.113.9/32 dev eth0
ip -4 route del 10.99.0.0/16 dev eth0`

	foreignOnLink = `wg set wg0 peer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE= allowed-ips 10.77.0.9/32,10.77.0.10/32
ip address add 10.88.0.1/24 dev wg0
ip address add 2001:db8:9999::1/64 dev wg0
ip route add 10.66.0.0/16 dev wg0
ip -6 route add default dev wg0 table 99`
	foreignBeside = `ip -4 rule add fwmark 0x77 table 99 priority 502
ip -6 neigh add proxy 2001:db8:5::98 dev eth0
nft add table inet later`
	unforeignBeside = `nft delete table inet later
ip -6 neigh del proxy 2001:db8:5::98 dev eth0
ip -4 rule del priority 502`
)

// What others made is theirs: a second apply, a change of the tunnel and down
// leave it alone. What is on our interface the plan tells of, and it lives as
// long as that.
func TestLabApplyForeign(t *testing.T) {
	u := labtest.FirstUsers(t)
	nothing := u.Snapshot(u.Shale)
	u.Must(u.Shale, "set -e; "+foreignOnHost)
	before := u.Snapshot(u.Shale)
	u.Tunnel(faultTunnel)
	u.Clone()
	u.Must(u.Shale, "wgkeys apply")
	u.Must(u.Shale, "set -e; "+foreignOnLink+"\n"+foreignBeside)
	with := netAndPeers(u)
	r := u.Run(u.Shale, "wgkeys apply")
	if r.Code != 0 || r.Stdout != "" || !strings.Contains(r.Stderr, "nothing to do") {
		t.Errorf("a second apply exits %d and does\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	for _, thing := range []string{
		"peer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE= of wg0",
		"address 10.88.0.1/24 on wg0", "address 2001:db8:9999::1/64 on wg0",
		"route 10.66.0.0/16 through wg0", "route ::/0 through wg0",
	} {
		if note := "note: " + thing + " was not made by wgkeys: left alone\n"; !strings.Contains(r.Stderr, note) {
			t.Errorf("no %q in\n%s", note, r.Stderr)
		}
	}
	if diff := demo.LineDiff(with, netAndPeers(u)); diff != "" {
		t.Errorf("a second apply changes\n%s", diff)
	}

	// flint is given a prefix that the foreign peer has: the kernel lets only
	// one peer have it, and the foreign one keeps the other.
	u.Must(u.Basalt, "test -e keyring/flint/wg0.pub || wgkeys gen -t wg0 flint")
	u.Tunnel(strings.Replace(faultTunnel, "mtu       = 1400", "mtu       = 1380", 1) +
		"\n[hosts.flint]\naddresses = [\"10.77.0.9/32\"]\n")
	u.Clone()
	if r := u.Run(u.Shale, "wgkeys apply"); r.Code != 0 ||
		!strings.Contains(r.Stdout,
			"peer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE= allowed-ips -10.77.0.9/32  # peer: what it was allowed, another peer takes") {
		t.Errorf("the change exits %d and tells\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Want("peers", u.Must(u.Shale, "wg show wg0 allowed-ips"),
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE= 10.77.0.10/32")
	u.Want("addresses", u.Must(u.Shale, "ip -o address show dev wg0 | awk '{print $4}'"), "10.88.0.1/24",
		"2001:db8:9999::1/64")
	u.Want("routes", u.Must(u.Shale, "ip route show 10.66.0.0/16; ip -6 route show table 99"),
		"10.66.0.0/16 dev wg0 scope link", "default dev wg0 metric 1024 pref medium")

	u.Must(u.Shale, "wgkeys down")
	u.Must(u.Shale, "set -e; "+unforeignBeside)
	u.Same(u.Shale, before, "what is not on the interface was there before")
	u.Must(u.Shale, "set -e; "+unforeignOnHost)
	u.Same(u.Shale, nothing, "after the foreign things are gone too")
}

// Two tunnels cannot both have the default route of the endpoint's family: the
// second is refused by name, with the first as it was, whichever comes first.
func TestLabApplyTwoDefaultRoutes(t *testing.T) {
	u := labtest.FirstUsers(t)
	other := strings.NewReplacer("30567", "30568", "10.7.0.", "10.8.0.").Replace(defaultRouteTunnel)
	u.Tunnel(defaultRouteTunnel)
	withSecond(u, other)
	defer withoutSecond(u)
	before := u.Snapshot(u.Basalt)
	for _, order := range [][2]string{{"wg0", "wg1"}, {"wg1", "wg0"}} {
		u.Must(u.Basalt, "wgkeys apply -t "+order[0])
		first := u.Snapshot(u.Basalt)
		r := u.Run(u.Basalt, "wgkeys apply -t "+order[1])
		want := `error: cannot route everything of one family through tunnel "` + order[1] +
			`": another tunnel does so already`
		if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, want) || !strings.Contains(r.Stderr, "hint: ") {
			t.Errorf("the second tunnel: exit %d, and it says\n%swant %q", r.Code, r.Stderr, want)
		}
		u.Same(u.Basalt, first, "the second tunnel was refused")
		u.Must(u.Basalt, "wgkeys down -t "+order[0])
		u.Same(u.Basalt, before, "the first is down")
	}
	// One that takes only a part that holds no endpoint goes beside it.
	withSecond(u, strings.Replace(other, `"0.0.0.0/0"`, `"198.18.0.0/15"`, 1))
	u.Must(u.Basalt, "wgkeys apply -t wg0 && wgkeys apply -t wg1")
	for destination, dev := range map[string]string{"198.18.0.1": "dev wg1", "198.51.100.7": "dev wg0",
		demo.ShaleAddr + " mark $(wg show wg0 fwmark)": "dev eth0"} {
		if route := u.Must(u.Basalt, "ip route get "+destination); !strings.Contains(route, dev) {
			t.Errorf("the route to %s is not by %s: %s", destination, dev, route)
		}
	}
	u.Must(u.Basalt, "wgkeys down -t wg0 && wgkeys down -t wg1")
	u.Same(u.Basalt, before, "both are down")
}

// Two tunnels that each lead through the other send nothing, which each of them says, and
// neither makes its packets smaller because of the other's. Rules of others that choose by
// what only the encrypted packets have are seen, too.
func TestLabApplyCircle(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	first := `listen_port = 30567
[hosts.shale]
ssh       = "root@93.93.130.7"
endpoint  = "93.93.130.7"
addresses = ["10.9.0.1/32"]
routes    = ["198.18.5.0/24"]
[hosts.basalt]
addresses = ["10.9.0.2/32"]
`
	u.Tunnel(first)
	withSecond(u, strings.NewReplacer("30567", "30568", "10.9.", "10.10.", "198.18.5.0/24", "93.93.130.0/24",
		`endpoint  = "93.93.130.7"`, `endpoint  = "198.18.5.1"`).Replace(first))
	u.Must(u.Basalt, "wgkeys apply -t wg0")
	says := func(command, want string) {
		t.Helper()
		r := u.Run(u.Basalt, command)
		if !strings.Contains(r.Stderr, want) || strings.Contains(command, "plan") && r.Stdout != "" {
			t.Errorf("%s says\n%s%swant %q", command, r.Stdout, r.Stderr, want)
		}
	}
	for i, rule := range []string{"ipproto udp dport 30567", "ipproto udp sport 30567", "uidrange 0-0", "to 93.93.130.7"} {
		u.Must(u.Basalt, "ip rule add pref 100 "+rule+" lookup 77; ip route add blackhole default table 77")
		says("wgkeys plan -t wg0", "finding: nothing can be sent to shale at 93.93.130.7, OUTSIDE: this host has no route there")
		u.Must(u.Basalt, "ip route replace default dev wg0 table 77")
		said := "a route or rule that is not wgkeys' leads there through wg0 itself: "
		shows := "ip -4 route get 93.93.130.7 ipproto udp sport 30567 dport 30567"
		says("wgkeys plan -t wg0", said+shows)
		if i < 2 { // the user who asks matters to another rule, and the addresses to the last one
			u.Must(u.Basalt, shows+" | grep -q 'dev wg0'")
		}
		u.Must(u.Basalt, "ip rule del pref 100; ip route flush table 77")
	}
	says("wgkeys apply -t wg1", "finding: nothing is sent to shale at 198.18.5.1, OUTSIDE: it is routed into wg0, "+
		"and what wg0 sends to 93.93.130.7, OUTSIDE, into wg1 again; take that out of the routes of wg1, or give it a route of its own")
	for range 2 {
		says("wgkeys plan -t wg0", "finding: nothing is sent to shale at 93.93.130.7, OUTSIDE: it is routed into wg1, "+
			"and what wg1 sends to 198.18.5.1, OUTSIDE, into wg0 again")
	}
	u.Must(u.Basalt, "ip route add 93.93.130.7/32 via $(ip -4 route show default | sed 's/.*via \\([^ ]*\\).*/\\1/')")
	if r := u.Run(u.Basalt, "wgkeys plan -t wg0"); strings.Contains(r.Stderr, "nothing is sent") {
		t.Errorf("the circle is broken, and plan says\n%s", r.Stderr)
	}
}

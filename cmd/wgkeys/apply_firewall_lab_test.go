package main

import (
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
	"wgkeys/keyring/lazyregexp"
)

// A firewall is another program's filter on shale, and what of the tunnel it
// closes: "between", "in" or nothing that could be known for certain.
type firewallCase struct{ name, set, unset, closes string }

// nftCase is a table with one base chain, and perhaps other things.
func nftCase(name, closes, table string) firewallCase {
	family := strings.Fields(table)[0] + " " + strings.Fields(table)[1]
	return firewallCase{name, "nft 'table " + table + "'", "nft delete table " + family, closes}
}

var firewallCases = []firewallCase{
	{"none", "true", "true", ""},
	nftCase("a policy", "between", `ip6 filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }`),
	nftCase("answers alone pass", "between",
		`inet f { chain c { type filter hook forward priority 0; policy drop; ct state established,related accept; iifname docker0 accept; }; }`),
	nftCase("a rule at the end", "between",
		`inet f { chain c { type filter hook forward priority 10; iifname lo accept; tcp dport 22 iifname eth7 accept; counter log reject with icmpx admin-prohibited; }; }`),
	nftCase("a rule at the end, and what is published passes", "between",
		`inet f { chain c { type filter hook forward priority 10; ct state established accept; ct status dnat accept; iifname eth0 oifname eth0 accept; reject with icmpx admin-prohibited; }; }`),
	nftCase("a chain that is jumped to", "between",
		`inet f { chain d { meta mark set 7; drop; }; chain c { type filter hook forward priority 0; iifname vmap { eth0 : jump d, wg0 : goto d, lo : accept }; }; }`),
	nftCase("before it is routed", "between",
		`inet f { chain c { type filter hook prerouting priority -300; iifname "wg*" drop; }; }`),
	nftCase("a range that has all inside addresses", "between",
		`ip6 f { chain c { type filter hook forward priority 0; ip6 saddr 2001:db8::/32 drop; ip6 daddr 2001:db8::/32 drop; }; }`),
	nftCase("the tunnel is let pass", "",
		`inet f { chain c { type filter hook forward priority 0; policy drop; iifname wg0 accept; oifname "wg*" ct state established,related accept; }; }`),
	nftCase("by address", "",
		`inet f { chain c { type filter hook forward priority 0; policy drop; ip6 saddr 2001:db8:7767::/64 accept; ip6 daddr 2001:db8:7767::/64 accept; }; }`),
	nftCase("some ports", "",
		`inet f { chain c { type filter hook forward priority 0; policy drop; iifname wg0 tcp dport { 80, 443 } accept; oifname wg0 ct state established accept; }; }`),
	nftCase("some of many", "",
		`inet f { chain c { type filter hook forward priority 0; iifname wg0 limit rate over 1000000/second drop; }; }`),
	nftCase("by a mark", "",
		`inet f { chain c { type filter hook forward priority 0; policy drop; meta mark 7 accept; }; }`),
	nftCase("another interface", "",
		`inet f { chain c { type filter hook forward priority 0; iifname docker0 drop; oifname docker0 drop; meta nfproto ipv4 drop; }; }`),
	nftCase("no port", "in",
		`inet f { chain c { type filter hook input priority 0; policy drop; iif lo accept; ct state vmap { established : accept, related : accept, invalid : drop }; tcp dport { 22, 80 } accept; meta l4proto icmp accept; meta l4proto ipv6-icmp accept; }; }`),
	nftCase("other ports", "in",
		`inet f { chain c { type filter hook input priority 0; policy drop; ct state established accept; tcp dport 22 accept; udp dport { 53, 500, 30000-30566 } accept; meta l4proto ipv6-icmp accept; }; }`),
	nftCase("the very port", "in", `inet f { chain c { type filter hook input priority 0; udp dport 30567 drop; }; }`),
	nftCase("the port is open", "",
		`inet f { chain c { type filter hook input priority 0; policy drop; ct state established accept; tcp dport 22 accept; udp dport { 53, 30000-31000 } accept; meta l4proto ipv6-icmp accept; }; }`),
	nftCase("from an address", "",
		`inet f { chain c { type filter hook input priority 0; policy drop; ct state established accept; tcp dport 22 accept; ip saddr { 192.0.2.10, 192.0.2.11 } udp dport 30567 accept; meta l4proto ipv6-icmp accept; }; }`),
	nftCase("an interface", "in",
		`netdev f { chain c { type filter hook ingress device eth0 priority 0; udp dport 30567 drop; }; }`),
	nftCase("an interface's policy", "in",
		`netdev f { chain c { type filter hook ingress device eth0 priority 0; policy drop; meta protocol arp accept; meta l4proto { tcp, icmp, ipv6-icmp } accept; udp dport 53 accept; }; }`),
	nftCase("an interface of two, and only its port", "in",
		`netdev f { chain c { type filter hook ingress devices = { lo, eth0 } priority 0; policy drop; meta protocol arp accept; meta l4proto { tcp, icmp, ipv6-icmp } accept; }; }`),
	nftCase("the tunnel's interface", "between",
		`inet f { chain c { type filter hook ingress device wg0 priority 0; policy drop; tcp dport 22 iifname eth7 accept; }; }`),
	nftCase("another interface's own", "",
		`netdev f { chain c { type filter hook ingress device lo priority 0; policy drop; }; }`),
	nftCase("an interface, from one address", "",
		`netdev f { chain c { type filter hook ingress device eth0 priority 0; ip saddr 192.0.2.77 udp dport 30567 drop; }; }`),
	nftCase("what leaves an interface", "in",
		`netdev f { chain c { type filter hook egress device eth0 priority 0; udp sport 30567 drop; }; }`),
	nftCase("what is sent back", "in",
		`inet f { chain c { type filter hook output priority 0; meta l4proto udp udp sport { 30000-31000 } drop; }; }`),
	nftCase("all that is sent but for other things", "in",
		`inet f { chain c { type filter hook output priority 0; policy drop; tcp sport 22 accept; udp sport 53 accept; meta l4proto { icmp, ipv6-icmp } accept; }; }`),
	nftCase("answers are sent back", "",
		`inet f { chain c { type filter hook output priority 0; policy drop; ct state established accept; tcp sport 22 accept; meta l4proto { icmp, ipv6-icmp } accept; }; }`),
	nftCase("a redirect of the port", "in",
		`ip f { chain c { type nat hook prerouting priority -100; udp dport 30567 redirect to :53; }; }`),
	nftCase("the port is somebody else's", "in",
		`ip f { chain d { iifname != docker0 udp dport 30567 counter dnat to 172.17.0.2:51820; }; chain c { type nat hook prerouting priority -100; fib daddr type local jump d; }; }`),
	nftCase("dropped before it is translated", "in",
		`ip f { chain c { type nat hook prerouting priority -100; udp dport 30567 drop; tcp dport 7 redirect to :77; }; }`),
	nftCase("translated nowhere, so that no packet is looked at", "",
		`ip f { chain c { type nat hook prerouting priority -100; udp dport 30567 drop; }; }`),
	nftCase("other ports are redirected to it", "",
		`ip f { chain c { type nat hook prerouting priority -100; udp dport 30000-31000 redirect to :30567; }; }`),
	nftCase("a redirect from one address", "",
		`ip f { chain c { type nat hook prerouting priority -100; ip saddr 192.0.2.77 udp dport 30567 redirect to :53; }; }`),
	nftCase("a redirect of another port", "",
		`ip f { chain c { type nat hook prerouting priority -100; udp dport 30568 dnat to 172.17.0.2; tcp dport 30567 redirect to :53; }; }`),
	nftCase("a redirect behind one that accepts", "",
		`ip f { chain c { type nat hook prerouting priority -100; udp dport 30567 accept; udp dport 30567 redirect to :53; }; }`),
	nftCase("what is asleep", "",
		`inet f { flags dormant; chain c { type filter hook forward priority 0; policy drop; }; chain d { type filter hook input priority 0; udp dport 30567 drop; }; }`),
	{"iptables' raw table", "iptables-nft -t raw -A PREROUTING -p udp --dport 30567 -j DROP", "iptables-nft -t raw -F", "in"},
	{"iptables' mangle table", "ip6tables-nft -t mangle -A PREROUTING -i wg+ -j DROP", "ip6tables-nft -t mangle -F",
		"between"},
	{"Docker's port", dockersPort("iptables-nft"), dockersNone("iptables-nft"), "in"},
	{"iptables' redirect", "iptables-nft -t nat -A PREROUTING -p udp -m udp --dport 30567 -j REDIRECT --to-ports 53",
		"iptables-nft -t nat -F", "in"},
	{"iptables' redirect to one of many", "iptables-nft -t nat -A PREROUTING -p udp --dport 30567 -j REDIRECT --to-ports 30567-30570",
		"iptables-nft -t nat -F", ""},
	{"iptables' output", "iptables-nft -A OUTPUT -p udp -m multiport --sports 53,30567 -j DROP", "iptables-nft -F", ""},
	{"iptables' output of the port", "iptables-nft -A OUTPUT -p udp --sport 30567 -j DROP", "iptables-nft -F", "in"},
	{"iptables' policy", "ip6tables-nft -P FORWARD DROP", "ip6tables-nft -P FORWARD ACCEPT", "between"},
	{"iptables' rules", "ip6tables-nft -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; ip6tables-nft -A FORWARD -i docker0 -j ACCEPT; ip6tables-nft -A FORWARD -m comment --comment last -j REJECT",
		"ip6tables-nft -F", "between"},
	{"iptables' ports", "iptables-nft -P INPUT DROP; iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT; iptables-nft -A INPUT -m state --state ESTABLISHED -j ACCEPT; iptables-nft -A INPUT -p udp -m multiport --dports 53,30000:30566 -j ACCEPT",
		"iptables-nft -P INPUT ACCEPT; iptables-nft -F", "in"},
	{"iptables' open port",
		"iptables-nft -P INPUT DROP; iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT; iptables-nft -A INPUT -m state --state ESTABLISHED -j ACCEPT; iptables-nft -A INPUT -p udp -m multiport --dports 53,30000:30567 -j ACCEPT",
		"iptables-nft -P INPUT ACCEPT; iptables-nft -F", ""},
}

// dockersPort is a container's port as Docker publishes it, without its own program that
// would take the port first.
func dockersPort(tool string) string {
	return strings.ReplaceAll("$X -t nat -N DOCKER; $X -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER; "+
		"$X -t nat -A DOCKER ! -i docker0 -p udp -m udp --dport 30567 -j DNAT --to-destination 172.17.0.2:51820; "+
		"$X -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", "$X", tool)
}

func dockersNone(tool string) string {
	return strings.ReplaceAll("$X -t nat -F; $X -t nat -X", "$X", tool)
}

var legacyFirewalls = []firewallCase{
	{"legacy policy", "ip6tables-legacy -P FORWARD DROP", "ip6tables-legacy -P FORWARD ACCEPT", "between"},
	{"legacy chains", "ip6tables-legacy -N mine; ip6tables-legacy -A mine -m state --state ESTABLISHED -j RETURN; ip6tables-legacy -A mine ! -o eth7 -j DROP; ip6tables-legacy -A FORWARD -i wg+ -j mine; ip6tables-legacy -A FORWARD -i wg+ -g mine",
		"ip6tables-legacy -F; ip6tables-legacy -X", "between"},
	{"legacy, let pass", "ip6tables-legacy -P FORWARD DROP; ip6tables-legacy -A FORWARD -s 2001:db8:7767::/48 -j ACCEPT; ip6tables-legacy -A FORWARD -o wg0 -m conntrack --ctstate ESTABLISHED -j ACCEPT",
		"ip6tables-legacy -P FORWARD ACCEPT; ip6tables-legacy -F", ""},
	{"legacy raw table", "iptables-legacy -t raw -A PREROUTING -p udp --dport 30567 -j DROP", "iptables-legacy -t raw -F", "in"},
	{"legacy, Docker's port", dockersPort("iptables-legacy"), dockersNone("iptables-legacy"), "in"},
	{"legacy redirect", "iptables-legacy -t nat -A PREROUTING -p udp --dport 30567 -j REDIRECT --to-ports 53",
		"iptables-legacy -t nat -F", "in"},
	{"legacy redirect to the same", "iptables-legacy -t nat -A PREROUTING -p udp --dport 30000:31000 -j REDIRECT --to-ports 30567",
		"iptables-legacy -t nat -F", ""},
	{"legacy output", "iptables-legacy -A OUTPUT -p udp --sport 30567 -j DROP", "iptables-legacy -F", "in"},
	{"legacy ports", "iptables-legacy -P INPUT DROP; iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT; iptables-legacy -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT; iptables-legacy -A INPUT -p udp --dport 53 -j ACCEPT",
		"iptables-legacy -P INPUT ACCEPT; iptables-legacy -F", "in"},
}

// saidOfFirewall are the findings about a firewall, and the rule in each. A shell takes it.
var saidOfFirewall = lazyregexp.New(`(?m)^wgkeys: finding: firewall chain \S+ of table .* (?:drops|sends elsewhere) (.*): ((?:nft|ip6?tables)\S* .*), and keep that where`)

// besideFirewalls prepares a test for real firewalls, and reports whether this kernel has what
// they use.
func besideFirewalls(t *testing.T) bool {
	if lab.Kernel() == "vm" {
		t.Log("that kernel has few of the modules that firewalls use")
		return false
	}
	labtest.Require(t, "nft", "iptables")
	t.Parallel()
	return true
}

// What another program's filter is certain to drop of what forward = true, or the
// port, promises, plan tells with a rule, and with that rule it passes. Where
// nothing is dropped, or it cannot be known, nothing is said.
func TestLabApplyFirewalls(t *testing.T) {
	if !besideFirewalls(t) {
		return
	}
	u := labtest.NewUsers(t)
	// A port of basalt's own choice, so that no connection of before is known.
	_, hosts, _ := strings.Cut(demo.FirstTunnel, "\n")
	u.Tunnel(strings.Replace(hosts, "[hosts.shale]", "[hosts.shale]\nlisten_port = 30567", 1))
	u.Clone()
	u.Must(u.Basalt, "wgkeys apply shale && wgkeys apply && "+reachInternet)
	if said := u.Run(u.Shale, "wgkeys plan"); said.Stderr != "wgkeys: wg0: nothing to do\n" {
		t.Fatalf("without a firewall plan says\n%s", said.Stderr)
	}
	portOfAKnownPeer(u)
	cases := firewallCases
	if u.Run(u.Shale, "iptables-legacy -L && ip6tables-legacy -L").Code == 0 {
		cases = slices.Concat(cases, legacyFirewalls)
	} else {
		t.Log("this kernel has no iptables of its own")
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { tryFirewall(u.With(t), c) })
	}
	statusWithFirewall(u)
	closedInside(u)
}

// portOfAKnownPeer closes the port to the family that basalt came by, which it did when
// the port was open, and leaves it open to the other.
func portOfAKnownPeer(u *labtest.Users) {
	u.Helper()
	for family, wanted := range map[string]bool{"ip": true, "ip6": false} {
		u.Must(u.Shale, strings.ReplaceAll("nft add table ip f && "+
			"nft 'add chain ip f in { type filter hook input priority 0; policy drop; }' && "+
			"nft add rule ip f in ct state established,related accept && "+
			"nft add rule ip f in meta l4proto ipv6-icmp accept", " ip f", " "+family+" f"))
		said := u.Run(u.Shale, "wgkeys plan").Stderr
		u.Must(u.Shale, "nft delete table "+family+" f")
		if strings.Contains(said, "UDP port 30567, OUTSIDE, over IPv4") != wanted || strings.Contains(said, "over IPv6") {
			u.Errorf("with the port closed to %s plan says\n%s", family, said)
		}
	}
}

const reachInternet = "ping -6 -c 1 -w 10 " + demo.Internet

// statusWithFirewall finds what plan finds.
func statusWithFirewall(u *labtest.Users) {
	u.Helper()
	c := firewallCases[1]
	u.Must(u.Shale, c.set)
	r := u.Run(u.Basalt, "wgkeys status shale")
	if u.Must(u.Shale, c.unset); r.Code != ui.ExitFindings ||
		!strings.Contains(r.Stdout,
			"  ! firewall chain FORWARD of table ip6 filter (the policy) drops IPv6 from the tunnel to eth0: ") {
		u.Errorf("status exits %d and says\n%s", r.Code, r.Stdout)
	}
	if r = u.Run(u.Basalt, "wgkeys status shale"); r.Code != ui.ExitDone {
		u.Errorf("where nothing is dropped, status exits %d and says\n%s", r.Code, r.Stdout)
	}
}

const comeAgain = "wgkeys down; wgkeys apply; " // as when shale has forgotten the session

func tryFirewall(u *labtest.Users, c firewallCase) {
	defer u.Must(u.Shale, c.unset)
	if c.closes == "between" {
		u.Must(u.Shale, "set -e; "+c.set)
	} else { // what came to a port once is known, and told of no more
		u.Must(u.Shale, "set -e; wgkeys down; "+c.set+"; wgkeys apply")
	}
	r := u.Run(u.Shale, "wgkeys plan")
	found := saidOfFirewall().FindAllStringSubmatch(r.Stderr, -1)
	if (len(found) > 0) != (c.closes != "") || strings.Count(r.Stderr, "finding:") != len(found) {
		u.Errorf("plan says\n%s", r.Stderr)
	}
	if c.closes == "" {
		return
	}
	if u.Run(u.Basalt, comeAgain+"ping -6 -c 1 -w 2 "+demo.Internet).Code == 0 {
		u.Errorf("it is said to drop, and does not:\n%s", r.Stderr)
	}
	for _, f := range found {
		if c.closes == "in" != strings.Contains(f[1], "UDP port 30567") {
			u.Errorf("it is said to drop %s", f[1])
		}
		u.Must(u.Shale, f[2])
	}
	if said := u.Run(u.Shale, "wgkeys plan").Stderr; strings.Contains(said, "finding") {
		u.Errorf("with the rules of\n%splan says\n%s", r.Stderr, said)
	}
	if u.Run(u.Basalt, comeAgain+reachInternet).Code != 0 {
		u.Errorf("with the rules of\n%sbasalt gets no further", r.Stderr)
	}
	for _, f := range found {
		if undo := strings.Replace(f[2], " -I ", " -D ", 1); undo != f[2] {
			u.Must(u.Shale, undo)
		}
	}
}

// TestLabApplyFirewallOfAddresses: Tailscale drops what comes from 100.64.0.0/10 but by its own
// interface (ts-input in its chains), and with it all that comes out of a tunnel with such
// addresses, to a host that forwards as well. What is closed by the name of the tunnel's
// interface on one that forwards is as somebody wanted it.
func TestLabApplyFirewallOfAddresses(t *testing.T) {
	if !besideFirewalls(t) {
		return
	}
	u := labtest.NewUsers(t)
	u.Tunnel("[hosts.shale]\nssh = \"root@" + demo.ShaleAddr + "\"\nendpoint = \"" + demo.ShaleAddr + "\"\n" +
		"addresses = [\"100.100.0.1/24\"]\nforward = true\n[hosts.basalt]\naddresses = [\"100.100.0.2/24\"]\n")
	u.Clone()
	u.Must(u.Basalt, "wgkeys apply shale && wgkeys apply && ping -c 1 -w 10 100.100.0.1")
	const set = "iptables-nft -N ts-input; iptables-nft -A ts-input -s 100.64.0.0/10 ! -i tailscale0 -j DROP; " +
		"iptables-nft -A INPUT -j ts-input"
	for host, peer := range map[*lab.Host]string{u.Shale: "100.100.0.2", u.Basalt: "100.100.0.1"} {
		u.Must(host, set)
		r := u.Run(host, "wgkeys plan")
		found := saidOfFirewall().FindStringSubmatch(r.Stderr)
		if found == nil || found[1] != "all that comes from the tunnel to this host over IPv4" {
			t.Fatalf("plan says\n%s", r.Stderr)
		}
		if u.Run(host, "ping -c 1 -w 2 "+peer).Code == 0 {
			t.Error("it is said to drop, and does not")
		}
		u.Must(host, found[2]+" && ping -c 1 -w 5 "+peer)
		if said := u.Run(host, "wgkeys plan").Stderr; strings.Contains(said, "finding") {
			t.Errorf("with the rule of\n%splan says\n%s", r.Stderr, said)
		}
		u.Must(host, "iptables-nft -F; iptables-nft -X")
	}
	u.Must(u.Shale, "iptables-nft -A INPUT -i wg0 -s 100.64.0.0/10 -j DROP")
	if said := u.Run(u.Shale, "wgkeys plan").Stderr; strings.Contains(said, "finding") {
		t.Errorf("of the tunnel's interface plan says\n%s", said)
	}
}

// closedInside are filters of basalt's own, which is no router: what it sends into the
// tunnel, and what comes to it from there.
func closedInside(u *labtest.Users) {
	u.Must(u.Basalt, comeAgain+reachInternet)
	for _, c := range []firewallCase{
		nftCase("all that is sent", "all that this host sends into the tunnel over IPv6",
			`inet f { chain c { type filter hook output priority 0; oifname wg0 drop; }; }`),
		nftCase("all that comes", "all that comes from the tunnel to this host over IPv6",
			`ip6 f { chain c { type filter hook input priority 0; iifname "wg*" reject; }; }`),
		nftCase("all that comes, before all", "all that comes from the tunnel to this host over IPv6",
			`netdev f { chain c { type filter hook ingress device wg0 priority 0; policy drop; }; }`),
		{"ip6tables", "ip6tables-nft -A OUTPUT -o wg+ -j DROP", "ip6tables-nft -F",
			"all that this host sends into the tunnel over IPv6"},
		nftCase("what it asks for comes", "",
			`inet f { chain c { type filter hook input priority 0; policy drop; iifname eth0 accept; ct state established accept; meta l4proto ipv6-icmp accept; }; }`),
		nftCase("some of it", "",
			`inet f { chain c { type filter hook input priority 0; iifname wg0 tcp dport != 80 drop; }; chain d { type filter hook output priority 0; oifname wg0 udp dport 53 drop; }; }`),
	} {
		u.T.Run("inside: "+c.name, func(t *testing.T) {
			u := u.With(t)
			u.Must(u.Basalt, c.set)
			defer u.Must(u.Basalt, c.unset)
			r := u.Run(u.Basalt, "wgkeys plan")
			found := saidOfFirewall().FindStringSubmatch(r.Stderr)
			if reaches := u.Run(u.Basalt, "ping -6 -c 1 -w 2 "+demo.Internet).Code == 0; reaches != (c.closes == "") {
				t.Errorf("it reaches the internet: %v", reaches)
			}
			if c.closes == "" && found == nil {
				return
			}
			if found == nil || found[1] != c.closes {
				t.Fatalf("plan says\n%s", r.Stderr)
			}
			u.Must(u.Basalt, found[2]+" && "+reachInternet)
			if said := u.Run(u.Basalt, "wgkeys plan").Stderr; strings.Contains(said, "finding") {
				t.Errorf("with the rule of\n%splan says\n%s", r.Stderr, said)
			}
		})
	}
}

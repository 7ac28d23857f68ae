package foreign_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/foreign"
)

// TestHook: commands that a tunnel file can express are read in any notation, and all
// others are left out as a whole.
func TestHook(t *testing.T) {
	for _, test := range []struct{ key, command, want string }{
		{"PostUp", "sysctl -w net.ipv4.ip_forward=1", "forward"},
		{"PreUp", "sysctl -q net.ipv6.conf.all.forwarding=1; true", "forward"},
		{"PostUp", "echo 1 > /proc/sys/net/ipv4/ip_forward", "forward"},
		{"PostUp", "echo 1 | sudo tee /proc/sys/net/ipv4/ip_forward >/dev/null", "forward"},
		{"PostUp", "echo 1 | tee /etc/wireguard/up", "left echo 1 | tee /etc/wireguard/up"},
		{"PostUp", "sysctl net.ipv4.tcp_mtu_probing=1", "sysctl net.ipv4.tcp_mtu_probing=1"},
		{"PostUp", "sysctl -p", "left sysctl -p"},
		{"PostUp", "sysctl --system", "left sysctl --system"},
		{"PostUp", "sysctl --write --quiet net.ipv4.ip_forward=1", "forward"},
		{"PostUp", "sysctl net.ipv4.ip_forward=0", "left sysctl net.ipv4.ip_forward=0"},
		{"PostUp", "sysctl -qw net.ipv4.tcp_ecn=1", "sysctl net.ipv4.tcp_ecn=1"},
		{"PostUp", "sysctl kernel.panic=1", "left sysctl kernel.panic=1"},
		{"PostDown", "sysctl -w net.ipv4.ip_forward=0", ""},
		{"PostUp", "iptables -A FORWARD -i %i -j ACCEPT; iptables -A FORWARD -o %i -j ACCEPT", "forward"},
		{"PostUp", "iptables -A FORWARD -i eth1 -j ACCEPT", "left iptables -A FORWARD -i eth1 -j ACCEPT"},
		{"PostUp", "iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "forward"},
		{"PostUp", "iptables -A FORWARD -i eth0 -o wg0 -m state --state ESTABLISHED -j ACCEPT", "forward"},
		{"PostUp", "iptables -A FORWARD -i eth1 -o eth0 -m state --state ESTABLISHED -j ACCEPT",
			"left iptables -A FORWARD -i eth1 -o eth0 -m state --state ESTABLISHED -j ACCEPT"},
		{"PostUp", "iptables -A FORWARD -s 10.0.0.0/24 -i eth1 -j ACCEPT",
			"left iptables -A FORWARD -s 10.0.0.0/24 -i eth1 -j ACCEPT"},
		{"PostUp", "iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE || true", "masquerade eth0"},
		{"PostUp", "iptables -t nat -A POSTROUTING -o eth+ -j MASQUERADE",
			"left iptables -t nat -A POSTROUTING -o eth+ -j MASQUERADE"},
		{"PostUp", "ip6tables -w -t nat -I POSTROUTING 1 -s fd00::/64 -o ens3 -j MASQUERADE", "masquerade ens3"},
		{"PostUp", "iptables -t nat -A POSTROUTING -o wg0 -j MASQUERADE", "masquerade tunnel"},
		{"PostUp", "iptables -t nat -A POSTROUTING -s 10.0.0.0/24 ! -o %i -j MASQUERADE", "masquerade all"},
		{"PostUp", "iptables -t nat -A POSTROUTING ! -o eth0 -j MASQUERADE",
			"left iptables -t nat -A POSTROUTING ! -o eth0 -j MASQUERADE"},
		{"PostUp", "iptables -t nat -A POSTROUTING -o eth0 -j SNAT --to 192.0.2.1",
			"left iptables -t nat -A POSTROUTING -o eth0 -j SNAT --to 192.0.2.1"},
		{"PostDown", "iptables -t nat -D POSTROUTING -o eth0 -j MASQUERADE", ""},
		{"PostUp", "iptables -t nat -C POSTROUTING -o eth0 -j MASQUERADE 2>/dev/null || iptables -t nat -A POSTROUTING -o eth0 " +
			"-j MASQUERADE", "masquerade eth0"},
		{"PostUp", "iptables -C FORWARD -i %i -j LOG || iptables -A FORWARD -i %i -j LOG",
			"left iptables -A FORWARD -i %i -j LOG"},
		{"PostUp", "iptables -t nat -A POSTROUTING -j MASQUERADE",
			"masquerade all, left iptables -t nat -A POSTROUTING -j MASQUERADE"},
		{"PostDown", "iptables -F", "left iptables -F"},
		{"PostUp", "iptables -I FORWARD -i wg0 -o wg0 -j DROP", "isolate"},
		{"PostUp", "ip6tables -A FORWARD -i %i -o %i -j REJECT --reject-with icmp6-adm-prohibited", "isolate"},
		{"PostUp", "iptables -I FORWARD -i wg0 -o wg0 -s 10.0.0.7 -j DROP",
			"left iptables -I FORWARD -i wg0 -o wg0 -s 10.0.0.7 -j DROP"},
		{"PostUp", "iptables -I FORWARD -i wg0 -o wg0 -m state --state INVALID -j DROP",
			"left iptables -I FORWARD -i wg0 -o wg0 -m state --state INVALID -j DROP"},
		{"PostUp", "iptables -A INPUT -p udp --dport 51820 -j ACCEPT",
			"left iptables -A INPUT -p udp --dport 51820 -j ACCEPT"},
		{"PostUp", "ip route add 192.0.2.0/24 via 10.0.0.1 dev %i table 7 metric 5",
			"route 192.0.2.0/24 10.0.0.1 7 5"},
		{"post-up", "ip -6 route add 2001:db8::/32 dev $IFACE", "route 2001:db8::/32 invalid IP 0 0"},
		{"PostUp", "ip route add 192.0.2.0/24 dev eth0", "left ip route add 192.0.2.0/24 dev eth0"},
		{"PreDown", "ip route del 192.0.2.0/24 dev wg0", ""},
		{"PreDown", "ip route del 192.0.2.0/24 dev eth0", "left ip route del 192.0.2.0/24 dev eth0"},
		{"PostUp", "ip addr add 172.20.0.1/32 peer 172.20.0.2 dev %i", "address 172.20.0.1/32 172.20.0.2/32"},
		{"PostUp", "ip addr add 10.9.0.1/24 brd + dev wg0 scope global", "address 10.9.0.1/24 invalid Prefix"},
		{"PostUp", "ip addr add 10.9.0.1/255.255.255.0 dev wg0", "address 10.9.0.1/24 invalid Prefix"},
		{"PostUp", "ip addr add 10.9.0.1/255.0.255.0 dev wg0", "left ip addr add 10.9.0.1/255.0.255.0 dev wg0"},
		{"PostUp", "ip addr add 10.9.0.1/24 dev wg0 scope link", "left ip addr add 10.9.0.1/24 dev wg0 scope link"},
		{"PostUp", "ip addr add fe80::1/64 dev wg0 scope link", "address fe80::1/64 invalid Prefix"},
		{"PostUp", "ip addr add 10.9.0.1/32 dev wg0 noprefixroute", "address 10.9.0.1/32 invalid Prefix"},
		{"PostUp", "ip addr add 10.9.0.1/24 dev wg0 noprefixroute", "left ip addr add 10.9.0.1/24 dev wg0 noprefixroute"},
		{"PostUp", "ip addr add 10.9.0.1/24 dev wg0 label wg0:1", "left ip addr add 10.9.0.1/24 dev wg0 label wg0:1"},
		{"PostUp", "ip -n vpn addr add 10.9.0.1/24 dev wg0", "left ip -n vpn addr add 10.9.0.1/24 dev wg0"},
		{"PostUp", "ip -family inet6 route add default dev wg0 2>/dev/null || true", "route ::/0 invalid IP 0 0"},
		{"PostUp", "ip route add 192.0.2.0/24 dev wg0 table main &>/dev/null", "route 192.0.2.0/24 invalid IP 0 0"},
		{"PostUp", "ip route add default dev wg0",
			"route 0.0.0.0/0 invalid IP 0 0, left ip route add default dev wg0"},
		{"PostUp", "ip route add default via 10.0.0.9 dev wg0",
			"route 0.0.0.0/0 10.0.0.9 0 0, left ip route add default via 10.0.0.9 dev wg0"},
		{"PostUp", "ip route add default dev wg0 metric 500", "route 0.0.0.0/0 invalid IP 0 500"},
		{"PostUp", "ip route add table 200 default via 192.0.2.254", "left ip route add table 200 default via 192.0.2.254"},
		{"PostUp", "ip route add dev %i metric 7 to 192.0.2.0/24", "route 192.0.2.0/24 invalid IP 0 7"},
		{"PostUp", "ip route add dev %i onlink default via 10.0.0.9 table 7", "route 0.0.0.0/0 10.0.0.9 7 0"},
		{"PostUp", "ip route add 192.0.2.0/24 via 0.0.0.0 dev wg0", "route 192.0.2.0/24 invalid IP 0 0"},
		{"PostUp", "ip route add 192.0.2.0/24 via 0.0.0.0 dev wg0 onlink",
			"left ip route add 192.0.2.0/24 via 0.0.0.0 dev wg0 onlink"},
		{"PostUp", "ip -6 route add default via :: dev wg0", "left ip -6 route add default via :: dev wg0"},
		{"PostUp", "ip addr add 10.9.0.1/24 dev wg0; ip route add 192.0.2.0/24 via 10.9.0.7",
			"route 192.0.2.0/24 10.9.0.7 0 0, address 10.9.0.1/24 invalid Prefix"},
		{"PostUp", "ip addr add 10.9.0.1/24 dev wg0; ip route add 192.0.2.0/24 via 10.9.0.1",
			"address 10.9.0.1/24 invalid Prefix, left ip route add 192.0.2.0/24 via 10.9.0.1"},
		{"PostUp", "ip addr add 10.9.0.1/24 dev wg0; ip route add 192.0.2.0/24 via 10.9.0.7 dev eth0",
			"address 10.9.0.1/24 invalid Prefix, left ip route add 192.0.2.0/24 via 10.9.0.7 dev eth0"},
		{"PostUp", "echo 1 > /proc/sys/net/ipv6/conf/wg0/disable_ipv6", "without IPv6"},
		{"PostUp", "ip addr add fd00::1/64 dev wg0; sysctl net.ipv6.conf.wg0.disable_ipv6=1",
			"sysctl net.ipv6.conf.wg0.disable_ipv6=1, address fd00::1/64 invalid Prefix"},
		{"PostUp", "ip link set mtu 1380 dev wg0", "mtu 1380"},
		{"pre-up", "ip link show wg0 || ip link add wg0 type wireguard", ""},
		{"pre-up", "ip link property add dev wg0 altname tunnel",
			"left ip link property add dev wg0 altname tunnel"},
		{"pre-up", "ip link set $IFACE netns vpn", "left ip link set $IFACE netns vpn"},
		{"post-up", "ip link set dev wg0 master vrf-blue", "left ip link set dev wg0 master vrf-blue"},
		{"post-up", "ip link set wg0 up mtu 1380 txqueuelen 500 multicast on", "mtu 1380"},
		{"PostUp", "ip rule add fwmark 7 table 9", "left ip rule add fwmark 7 table 9"},
		{"PostUp", "wg set %i private-key /etc/wireguard/%i.key", "key /etc/wireguard/wg0.key"},
		{"PostUp", "wg set %i private-key <(cat '/etc/wireguard/my key')", "key /etc/wireguard/my key"},
		{"pre-up", "wg setconf wg0 /etc/wireguard/$IFACE.conf", "conf /etc/wireguard/wg0.conf"},
		{"PostUp", "ip -6 neigh add proxy 2001:db8::2 dev eth0", "proxy 2001:db8::2"},
		{"PostUp", "resolvectl dns %i 10.0.0.1; resolvectl domain %i ~.", "dns 10.0.0.1 ~."},
		{"PostUp", `resolvectl dns %i 10.0.0.1; resolvectl domain %i "~."; resolvectl default-route %i true`, "dns 10.0.0.1 ~."},
		{"PostUp", "resolvectl dns %i 10.0.0.1; resolvectl domain %i ~example.net; resolvectl default-route %i false",
			"dns 10.0.0.1 ~example.net"},
		{"PostUp", "resolvectl dns %i 10.0.0.1 && resolvectl default-route %i yes",
			"dns 10.0.0.1, left resolvectl default-route %i yes"},
		{"PostUp", "resolvectl domain %i ~", "left resolvectl domain %i ~"},
		{"PostUp", "resolvectl domain %i ~user/example.net", "left resolvectl domain %i ~user/example.net"},
		{"PostUp", "ping -c1 10.0.0.1", "left ping -c1 10.0.0.1"},
		// what runs on a condition, or several times, is one command
		{"PostUp", "if test -e /run/x; then date; sysctl -w net.ipv4.ip_forward=1; fi",
			"left if test -e /run/x; then date; sysctl -w net.ipv4.ip_forward=1; fi"},
		{"PostUp", "true; for i in 1 2; do ping -c1 10.0.0.2 && break; done",
			"left true; for i in 1 2; do ping -c1 10.0.0.2 && break; done"},
		{"PostUp", "test -e /run/x && (date; sysctl -w net.ipv4.ip_forward=1)",
			"left test -e /run/x && (date; sysctl -w net.ipv4.ip_forward=1)"},
		{"PostUp", `iptables -A FORWARD -i %i -m comment --comment "for wg" -j ACCEPT`, "forward"},
		{"PostUp", "A=$(hostname); echo $A | mail root", "left A=$(hostname); echo $A | mail root"},
		{"PostUp", "ip route add $NET dev wg0", "left ip route add $NET dev wg0"},
		{"post-up", "ip route add 192.0.2.0/24 dev $IFACE # the cellar", "route 192.0.2.0/24 invalid IP 0 0"},
		{"post-up", "echo 'a # b' >/dev/null", ""},
		// a command that is left out has no effect, not even of its first words
		{"PostUp", "wg set %i private-key /dev/stdin", "left wg set %i private-key /dev/stdin"},
		{"PostUp", "wg set %i listen-port 7 fwmark off", "left wg set %i listen-port 7 fwmark off"},
		{"PostUp", "wg set %i private-key <(pass show wg)", "left wg set %i private-key <(pass show wg)"},
		{"PostUp", "sysctl net.ipv4.tcp_ecn=1 vm.swappiness=1", "left sysctl net.ipv4.tcp_ecn=1 vm.swappiness=1"},
		{"PostUp", "ip link set mtu 1300 dev %i netns x up type vlan",
			"left ip link set mtu 1300 dev %i netns x up type vlan"},
	} {
		t.Run(test.command, func(t *testing.T) {
			d := &foreign.Device{Name: "wg0"}
			d.Hook(foreign.Pos{File: "wg0.conf", Line: 3}, test.key, test.command)
			if got := said(d); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			for _, l := range d.Left {
				if l.Why == "" {
					t.Errorf("%s is left out without a reason", l.What)
				}
			}
		})
	}
}

// TestHookMasquerade: a rule counts only if its addresses are the tunnel's.
func TestHookMasquerade(t *testing.T) {
	const other, nowhere = "left out: none of its addresses", "left out: wherever it goes"
	for _, test := range []struct{ rule, want string }{
		{"-s 10.0.0.0/24 -o eth0", "masquerade eth0"},
		{"-s 10.0.0.1 -o eth0", "masquerade eth0"},
		{"-s 192.168.7.0/24 -o eth0", "masquerade eth0"}, // a peer's network
		{"-s 10.0.1.0/24 -o eth0", other},
		{"-s vpn.example.net -o eth0", other},
		{"-s 10.0.0.0/24 ! -d 10.0.0.0/24", "masquerade all"},
		{"! -d 10.0.0.0/24 -s 10.0.0.0/24 -o eth0", "masquerade eth0"},
		{"-s 10.0.0.0/24 ! -d 192.0.2.0/24", nowhere},
		{"-s 10.0.0.0/24 -d 10.0.0.0/24", nowhere},
		{"-s 192.168.1.0/24 -o %i", "masquerade tunnel"},
		{"-s 192.168.1.0/24 -d 192.0.2.1 -o %i", nowhere},
	} {
		d := &foreign.Device{Name: "wg0", Addresses: []foreign.Address{{Local: netip.MustParsePrefix("10.0.0.1/24")}},
			Peers: []foreign.Peer{{AllowedIPs: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24"),
				netip.MustParsePrefix("0.0.0.0/0")}}}}
		d.Hook(foreign.Pos{}, "PostUp", "iptables -t nat -A POSTROUTING "+test.rule+" -j MASQUERADE")
		got := strings.TrimPrefix(said(d), "address 10.0.0.1/24 invalid Prefix, ")
		got = strings.TrimSuffix(got, ", address 10.0.0.1/24 invalid Prefix")
		why, leaves := strings.CutPrefix(test.want, "left out: ")
		switch {
		case leaves && (len(d.Left) != 1 || !strings.Contains(d.Left[0].Why, why)):
			t.Errorf("%s: %s, %v", test.rule, got, d.Left)
		case !leaves && got != test.want:
			t.Errorf("%s: %s", test.rule, got)
		}
	}
}

// TestHookConf: a file for `wg setconf` is read, and those for `wg addconf` after it. What
// replaces the first is left out, and so is what is added to a file of wg-quick.
func TestHookConf(t *testing.T) {
	const two = "wg setconf %i /etc/wireguard/a.conf; wg addconf %i /etc/wireguard/b.conf"
	for _, c := range []struct {
		byFile        bool
		command, want string
	}{
		{false, two, "conf /etc/wireguard/a.conf, more /etc/wireguard/b.conf"},
		{true, two, "left wg setconf %i /etc/wireguard/a.conf, left wg addconf %i /etc/wireguard/b.conf"},
		{false, "wg setconf %i /etc/wireguard/a.conf; wg syncconf %i /etc/wireguard/b.conf",
			"conf /etc/wireguard/a.conf, left wg syncconf %i /etc/wireguard/b.conf"},
	} {
		d := &foreign.Device{Name: "wg0", ByFile: c.byFile}
		d.Hook(foreign.Pos{}, "pre-up", c.command)
		if len(d.AddConf) > 0 {
			c.want = strings.Replace(c.want, ", more "+strings.Join(d.AddConf, " "), "", 1)
		}
		if got := said(d); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestHookStripped: what wg(8) takes of a file of wg-quick is in that file, whichever way its
// output gets there. A shell of its own changes nothing.
func TestHookStripped(t *testing.T) {
	for command, want := range map[string]string{
		"wg setconf $IFACE <(wg-quick strip $IFACE)":                           "conf /etc/wireguard/wg0.conf",
		"bash -c 'wg setconf $IFACE <(wg-quick strip /etc/wireguard/x.conf)'":  "conf /etc/wireguard/x.conf",
		`/bin/bash -c "wg setconf wg0 <(wg-quick strip wg0)"`:                  "conf /etc/wireguard/wg0.conf",
		"wg-quick strip ${IFACE} | wg setconf $IFACE /dev/stdin":               "conf /etc/wireguard/wg0.conf",
		"/usr/bin/wg-quick strip wg0 | /usr/bin/wg syncconf wg0 /dev/fd/0":     "conf /etc/wireguard/wg0.conf",
		"sh -c 'ip link set $IFACE mtu 1380; sysctl -w net.ipv4.ip_forward=1'": "forward, mtu 1380",
		"wg-quick strip wg0 | tee /tmp/x | wg setconf wg0 /dev/stdin":          "left wg-quick strip wg0 | tee /tmp/x | wg setconf wg0 /dev/stdin",
		"bash -c 'echo $(date)' x":                                             "left bash -c 'echo $(date)' x",
	} {
		d := &foreign.Device{Name: "wg0"}
		d.Hook(foreign.Pos{}, "pre-up", command)
		if got := said(d); got != want {
			t.Errorf("%s: got %q, want %q", command, got, want)
		}
	}
}

// TestHookResolvers: a command that gives resolvconf(8) resolvers is left out with what to write.
func TestHookResolvers(t *testing.T) {
	for _, command := range []string{`printf 'nameserver 10.0.0.1\n' | resolvconf -a tun.%i -m 0 -x`, "resolvconf -d %i",
		"systemd-resolve -i %i --set-dns=10.0.0.1"} {
		d := &foreign.Device{Name: "wg0"}
		d.Hook(foreign.Pos{}, "PostUp", command)
		if len(d.Left) != 1 || d.Left[0].Why != "dns = names the resolvers" {
			t.Error(d.Left)
		}
	}
}

// TestRouteUndone: the command that undoes a route is dropped with it, however it names the route.
func TestRouteUndone(t *testing.T) {
	for down, want := range map[string]bool{
		"ip route del 192.0.2.0/24 via 10.0.0.2":      true,
		"ip route del 192.0.2.0/24":                   true,
		"ip route del 192.0.2.0/24 dev wg0":           true,
		"ip route del 198.51.100.0/24":                false,
		"ip route del 192.0.2.0/24 via 203.0.113.1":   false,
		"ip route del 192.0.2.0/24 dev eth0":          false,
		"ip route del default via 10.0.0.9 table 128": true,
	} {
		d := &foreign.Device{Name: "wg0", Addresses: []foreign.Address{{Local: netip.MustParsePrefix("10.0.0.1/24")}}}
		d.Hook(foreign.Pos{}, "PostUp", "ip route add 192.0.2.0/24 via 10.0.0.2")
		d.Hook(foreign.Pos{}, "PreDown", down)
		if len(d.Left) == 0 != want || len(d.Routes) != 1 {
			t.Errorf("%s: %v", down, d.Left)
		}
	}
}

// TestHookProgram: an interface may be called as a program is.
func TestHookProgram(t *testing.T) {
	d := &foreign.Device{Name: "wg"}
	d.Hook(foreign.Pos{}, "pre-up", "ip link add wg type wireguard; wg setconf wg /etc/wireguard/wg.conf")
	if got := said(d); got != "conf /etc/wireguard/wg.conf" {
		t.Error(got)
	}
}

// TestForwardHeldBack: a command that lets packets through becomes forward, but is left out
// beside one that holds the others back, because the two make sense only together.
func TestForwardHeldBack(t *testing.T) {
	for _, test := range []struct{ rules, want string }{
		{"-i wg0 -d 10.0.0.9 -j ACCEPT; -o wg0 -j ACCEPT", ""},
		{"-i wg0 -d 10.0.0.9 -j ACCEPT; -i wg0 -j DROP", "-i wg0 -j DROP, -i wg0 -d 10.0.0.9 -j ACCEPT"},
		{"-i wg0 -j REJECT; -m state --state ESTABLISHED -j ACCEPT",
			"-i wg0 -j REJECT, -m state --state ESTABLISHED -j ACCEPT"},
		{"-i wg0 -o wg0 -j DROP; -i wg0 -j ACCEPT", ""},                      // isolate
		{"-i wg0 -j ACCEPT; -i wg0 -o wg0 -j DROP", "-i wg0 -o wg0 -j DROP"}, // the first decides
		{"-i wg0 -j ACCEPT; -i eth1 -j DROP", "-i eth1 -j DROP"},
		{"-i wg0 -j ACCEPT; -P FORWARD DROP", "iptables -P FORWARD DROP, -i wg0 -j ACCEPT"},
		{"-i wg0 -j ACCEPT; -P FORWARD ACCEPT", "iptables -P FORWARD ACCEPT"},
	} {
		d := &foreign.Device{Name: "wg0"}
		for rule := range strings.SplitSeq(test.rules, "; ") {
			if !strings.HasPrefix(rule, "-P") {
				rule = "-A FORWARD " + rule
			}
			d.Hook(foreign.Pos{}, "PostUp", "iptables "+rule)
		}
		d.SettleForward()
		var got []string
		for _, l := range d.Left {
			got = append(got, strings.TrimPrefix(strings.TrimPrefix(l.What, "PostUp = "), "iptables -A FORWARD "))
		}
		if strings.Join(got, ", ") != test.want || !d.Forward {
			t.Errorf("%s: %q", test.rules, got)
		}
	}
}

// TestIsolateInOrder: peers are kept apart if no rule before that lets their packets through.
func TestIsolateInOrder(t *testing.T) {
	for commands, want := range map[string]bool{
		"iptables -A FORWARD -i wg0 -j ACCEPT; iptables -I FORWARD -i wg0 -o wg0 -j DROP":                        true,
		"iptables -A FORWARD -i wg0 -j ACCEPT; iptables -I FORWARD 1 -i wg0 -o wg0 -j DROP":                      true,
		"iptables -A FORWARD -i wg0 -j ACCEPT; iptables -I FORWARD 2 -i wg0 -o wg0 -j DROP":                      false,
		"iptables -I FORWARD -i wg0 -o wg0 -j DROP; iptables -I FORWARD -o wg0 -j ACCEPT":                        false,
		"iptables -A FORWARD -i wg0 -o eth0 -j ACCEPT; iptables -A FORWARD -i wg0 -o wg0 -j DROP":                true,
		"iptables -A FORWARD -i wg0 ! -o wg0 -j ACCEPT; iptables -A FORWARD -i wg0 -o wg0 -j DROP":               true,
		"iptables -A FORWARD -m state --state ESTABLISHED -j ACCEPT; iptables -A FORWARD -i wg0 -o wg0 -j DROP":  true,
		"ip6tables -A FORWARD -i wg0 -j ACCEPT; iptables -A FORWARD -i wg0 -o wg0 -j DROP":                       true,
		"ip6tables -A FORWARD -i wg0 -j ACCEPT; ip6tables -A FORWARD -i wg0 -o wg0 -j DROP":                      false,
		"iptables -A FORWARD -i wg0 -j ACCEPT && iptables -A FORWARD -i wg0 -o wg0 -j REJECT && echo kept apart": false,
	} {
		d := &foreign.Device{Name: "wg0"}
		d.Hook(foreign.Pos{}, "PostUp", commands)
		d.SettleForward()
		if d.Isolate != want || len(d.Left) > 0 == want {
			t.Errorf("isolate %v, left %v of %s", d.Isolate, d.Left, commands)
		}
	}
}

// TestSettleMasquerade: a rule for some peers is never applied to all.
func TestSettleMasquerade(t *testing.T) {
	for _, test := range []struct {
		rules, want string // iptables rules; the uplinks and what is left out
	}{
		{"-s 10.0.0.0/24 -o eth0", "eth0"},
		{"-s 10.0.0.0/255.255.255.0 -o eth0", "eth0"},
		{"-s 10.0.0.2/32 -o eth0", "left 10.0.0.3/32"},
		{"-s 10.0.0.2 -o eth0; -s 10.0.0.3 -o eth0", "eth0"},
		{"-s 10.0.0.2,10.0.0.3 -o eth0", "eth0"},
		{"-s 10.0.0.2 -o eth0; -s 10.0.0.3 -o eth1", "left 10.0.0.3/32, left 10.0.0.2/32"},
		{"-s 10.0.0.2 -o eth0; -o eth1", "eth1, left 10.0.0.3/32"},
		{"-s 10.0.0.2 -o eth0; -o eth0", "eth0"},
		{"-s 10.0.0.2 ! -o %i", "left 10.0.0.3/32"},
		{"-s 10.0.0.0/25 ! -o %i", "all"},
		{"-s 10.0.0.1 -o eth0", "left 10.0.0.2/32"}, // only the host's own address
		{"-s 192.168.1.0/24 -o %i", "tunnel"},
		{"-s 192.168.1.7 -o %i", "left 192.168.1.7"},
		{"-s 10.0.0.0/24 ! -o %i; -s 192.168.1.0/24 -o %i", "all, left uplinks"},
		{"-s 10.0.0.2 ! -o %i; -s 192.168.1.0/24 -o %i", "tunnel, left 10.0.0.3/32"},
	} {
		d := &foreign.Device{Name: "wg0", Addresses: []foreign.Address{{Local: netip.MustParsePrefix("10.0.0.1/24")}}}
		for _, a := range []string{"10.0.0.2/32", "10.0.0.3/32", "fd00::3/128", "0.0.0.0/0"} {
			d.Peers = append(d.Peers, foreign.Peer{AllowedIPs: []netip.Prefix{netip.MustParsePrefix(a)}})
		}
		for r := range strings.SplitSeq(test.rules, "; ") {
			d.Hook(foreign.Pos{Line: 3}, "PostUp", "iptables -t nat -A POSTROUTING "+r+" -j MASQUERADE")
		}
		d.SettleMasquerade()
		var got []string
		if d.Masquerade.All {
			got = append(got, "all")
		}
		got = append(got, d.Masquerade.Uplinks...)
		if d.Masquerade.Tunnel {
			got = append(got, "tunnel")
		}
		for _, l := range d.Left {
			if l.What == "masquerade" { // not of one rule
				got = append(got, "left uplinks")
				continue
			}
			if l.Pos.Line != 3 || !strings.HasPrefix(l.What, "PostUp = iptables") || !l.Hook {
				t.Errorf("%s: %+v", test.rules, l)
			}
			got = append(got, "left "+l.Why[strings.LastIndexByte(l.Why, ' ')+1:])
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s: %s, want %s", test.rules, strings.Join(got, ", "), test.want)
		}
	}
	// Without peers, the tunnel's network counts.
	for source, all := range map[string]bool{"10.0.0.0/24": true, "10.0.0.0/16": true, "10.0.0.9": false} {
		d := &foreign.Device{Name: "wg0", Addresses: []foreign.Address{{Local: netip.MustParsePrefix("10.0.0.1/24")}}}
		d.Hook(foreign.Pos{}, "PostUp", "iptables -t nat -A POSTROUTING -s "+source+" -j MASQUERADE")
		if d.SettleMasquerade(); d.Masquerade.All != all {
			t.Errorf("-s %s: %v", source, d.Masquerade.All)
		}
	}
}

// TestHookName: a file is named after its interface. For a copy with another name there is
// a hint, and the name that the user gives is recognised too.
func TestHookName(t *testing.T) {
	const command = "iptables -A FORWARD -i wg0 -j ACCEPT"
	d := &foreign.Device{Name: "old", ByFile: true}
	d.Hook(foreign.Pos{}, "PostUp", command)
	if len(d.Left) != 1 || !strings.HasSuffix(d.Left[0].Why, "by its file the interface is old: if it is wg0, -t wg0 says so") {
		t.Error(d.Left)
	}
	d = &foreign.Device{Name: "old", ByFile: true, Alias: "wg0"}
	d.Hook(foreign.Pos{}, "PostUp", command)
	if len(d.Left) > 0 || !d.Forward {
		t.Error(d.Left)
	}
	d = &foreign.Device{Name: "wg1"} // a file that has the interface's name
	d.Hook(foreign.Pos{}, "post-up", command)
	if len(d.Left) != 1 || strings.Contains(d.Left[0].Why, "-t") {
		t.Error(d.Left)
	}
}

// said returns what the hooks have set in a device.
func said(d *foreign.Device) string {
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if d.Forward {
		add("forward")
	}
	for _, u := range d.Masquerade.Uplinks {
		add("masquerade %s", u)
	}
	if d.Masquerade.All {
		add("masquerade all")
	}
	if d.Masquerade.Tunnel {
		add("masquerade tunnel")
	}
	if d.Isolate {
		add("isolate")
	}
	if d.WithoutIPv6 {
		add("without IPv6")
	}
	for key, value := range d.Sysctls {
		add("sysctl %s=%s", key, value)
	}
	for _, r := range d.Routes {
		add("route %v %v %d %d", r.Prefix, r.Gateway, r.Table, r.Metric)
	}
	for _, a := range d.Addresses {
		add("address %v %v", a.Local, a.Remote)
	}
	for _, a := range d.Proxies {
		add("proxy %v", a)
	}
	for what, value := range map[string]string{"key": d.PrivateKeyFile, "conf": d.Conf, "dns": strings.Join(d.DNS, " ")} {
		if value != "" {
			add("%s %s", what, value)
		}
	}
	if d.MTU != 0 {
		add("mtu %d", d.MTU)
	}
	for _, l := range d.Left {
		_, command, _ := strings.Cut(l.What, " = ")
		add("left %s", command)
	}
	return strings.Join(words, ", ")
}

// TestHookSecret: a key in a command is not repeated.
func TestHookSecret(t *testing.T) {
	for _, key := range []string{
		"iLWPQC3SvPljd3BSp/PaBrkPC5illeLAVFNz3mioiE8=", "/wXvEe3mRULmsCDZxZsq+Q7l3SDUbRCm5qBK+WVg/mQ=",
	} {
		hookSecret(t, key)
	}
}

func hookSecret(t *testing.T, key string) {
	t.Helper()
	for _, command := range []string{
		"echo " + key + " | wg set wg0 private-key /dev/stdin",
		"wg set wg0 private-key <(echo " + key + ")",
		"KEY='" + key + "'; wg set wg0 private-key $KEY",
		"curl -d token=" + key + " https://vpn.example.net",
	} {
		d := &foreign.Device{Name: "wg0"}
		d.Hook(foreign.Pos{}, "PostUp", command)
		if text := fmt.Sprint(d.Left, d.PrivateKeyFile); len(d.Left) == 0 || strings.Contains(text, key[:20]) {
			t.Errorf("%s: %s", command[:20], strings.ReplaceAll(text, key, "KEY"))
		}
	}
}

// FuzzHook: no command makes the reader panic or makes an invalid route or address.
func FuzzHook(f *testing.F) {
	f.Add("PostUp", "ip route add 10.0.0.0/8 via 10.0.0.1 dev wg0; iptables -t nat -A POSTROUTING ! -o wg0 -j MASQUERADE")
	f.Add("PostDown", "wg set wg0 private-key <(cat '/a b') && sysctl -w net.ipv4.ip_forward=1 || true")
	f.Add("post-up", `ip addr add "10.0.0.1/32" peer 10.0.0.2 dev $IFACE onlink`)
	f.Fuzz(func(t *testing.T, key, command string) {
		d := &foreign.Device{Name: "wg0"}
		d.Hook(foreign.Pos{}, key, command)
		for _, r := range d.Routes {
			if !r.Prefix.IsValid() {
				t.Errorf("route %v", r)
			}
		}
		for _, a := range d.Addresses {
			if a.Local == (netip.Prefix{}) {
				t.Errorf("address %v", a)
			}
		}
	})
}

package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestLabApplyMarkOfEncryptedPackets: another program's filter drops the encrypted packets by
// their mark, or gives them another, with which they go into the tunnel themselves. Plan
// tells, with a rule that helps. Who marks other packets, or other bits, is nobody's
// trouble.
func TestLabApplyMarkOfEncryptedPackets(t *testing.T) {
	labtest.Require(t, "nft", "iptables")
	u := newFullUsers(t)
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys apply -q")
	u.pings(u.Basalt, true, "at first", internet4, demo.Internet)
	for _, c := range []struct{ set, unset, finding string }{
		{`nft 'table ip f { chain c { type filter hook output priority 0; meta mark != 0 drop; }; }'`, "nft delete table ip f",
			"firewall chain c of table ip f (a rule) drops what is sent to peers"},
		{`nft 'table inet f { chain c { type route hook output priority -150; udp dport != 53 meta mark set 5; }; }'`,
			"nft delete table inet f",
			"firewall chain c of table inet f (a rule) gives another mark to what is sent to peers"},
		{"iptables-nft -t mangle -A OUTPUT -p udp -j MARK --set-mark 1", "iptables-nft -t mangle -F",
			"firewall chain OUTPUT of table ip mangle (a rule) gives another mark to what is sent to peers"},
		{"iptables-nft -A OUTPUT -m mark ! --mark 0 -j DROP", "iptables-nft -F",
			"firewall chain OUTPUT of table ip filter (a rule) drops what is sent to peers"},
		{"iptables-nft -t mangle -A OUTPUT -p udp --dport 53 -j MARK --set-mark 1; " +
			"iptables-nft -t mangle -A OUTPUT -j MARK --set-mark 0x100/0xff00", "iptables-nft -t mangle -F", ""},
		// Scripts for several uplinks keep a mark with each connection.
		{"iptables-nft -t mangle -A OUTPUT -j CONNMARK --restore-mark", "iptables-nft -t mangle -F",
			"firewall chain OUTPUT of table ip mangle (a rule) gives another mark to what is sent to peers"},
		{`nft 'table inet f { chain c { type route hook output priority -150; meta mark set ct mark; }; }'`,
			"nft delete table inet f",
			"firewall chain c of table inet f (a rule) gives another mark to what is sent to peers"},
		{"iptables-nft -t mangle -A OUTPUT -j CONNMARK --restore-mark --nfmask 0xff00 --ctmask 0xff00; " +
			"iptables-nft -t mangle -A POSTROUTING -j CONNMARK --save-mark --nfmask 0xff00 --ctmask 0xff00",
			"iptables-nft -t mangle -F", ""},
		{"iptables-nft -t mangle -A OUTPUT -m mark --mark 0 -j CONNMARK --restore-mark", "iptables-nft -t mangle -F", ""},
		{"iptables-nft -t mangle -A OUTPUT -m mark ! --mark 0 -j CONNMARK --save-mark; " +
			"iptables-nft -t mangle -A OUTPUT -j CONNMARK --restore-mark", "iptables-nft -t mangle -F", ""},
		{`nft 'table inet f { chain c { type route hook output priority -150; ct mark != 0 meta mark set ct mark; }; }'`,
			"nft delete table inet f", ""},
		// What wg-quick(8) proposes as PostUp, with the mark that a tunnel had with it.
		{"iptables-nft -I OUTPUT ! -o wg0 -m mark ! --mark 51820 -m addrtype ! --dst-type LOCAL -j REJECT",
			"iptables-nft -F", "firewall chain OUTPUT of table ip filter (a rule) drops what is sent to peers"},
	} {
		u.Must(u.Basalt, c.set)
		said := u.Run(u.Basalt, "wgkeys plan").Stderr
		_, rule, found := strings.Cut(said, "finding: "+c.finding)
		if strings.Count(said, "finding: ") != min(len(c.finding), 1) || !found && c.finding != "" {
			u.Errorf("%s: plan says\n%s", c.set, said)
		}
		u.pings(u.Basalt, c.finding == "", c.set, internet4)
		if c.finding != "" && found {
			rule, _, _ = strings.Cut(rule, "\n")
			rule = rule[strings.LastIndex(rule, ": ")+2 : strings.LastIndex(rule, ", and keep")]
			u.Must(u.Basalt, rule)
			u.pings(u.Basalt, true, rule, internet4)
			if said := u.Run(u.Basalt, "wgkeys plan").Stderr; strings.Contains(said, "finding") {
				u.Errorf("with %s plan says\n%s", rule, said)
			}
		}
		u.Must(u.Basalt, c.unset)
	}
}

// TestLabApplyKillSwitchOfOthers: a rule that refuses all without another mark leaves nothing
// for the tunnel, if it comes before the tunnel's own. apply refuses, and says how to remove
// it; with the tunnel nothing leaves in the clear without it.
func TestLabApplyKillSwitchOfOthers(t *testing.T) {
	t.Parallel()
	u := newFullUsers(t)
	origin := u.Snapshot(u.Basalt)
	u.Must(u.Basalt, "wgkeys apply -q shale")
	const others = "ip rule add not fwmark 1 unreachable priority "
	refused := func(when, verb string) {
		t.Helper()
		r := u.Run(u.Basalt, "wgkeys "+verb)
		_, hint, found := strings.Cut(r.Stderr, "wgkeys: hint: ")
		if r.Code != ui.ExitFailed || !found || !strings.Contains(r.Stderr, "a rule refuses all packets without mark 0x1 ") {
			t.Fatalf("%s: %s exits %d, and says\n%s", when, verb, r.Code, r.Stderr)
		}
		u.pings(u.Basalt, false, when, internet4)
		u.Must(u.Basalt, hint)
	}
	u.Must(u.Basalt, others+"32765")
	refused("before the tunnel", "apply")
	u.Same(u.Basalt, origin, "after an apply that was refused")
	u.Must(u.Basalt, others+"33000 && wgkeys apply -q")
	u.pings(u.Basalt, true, "with a rule behind all others", internet4, demo.Internet)
	u.Must(u.Basalt, others+"1000")
	refused("beside the tunnel", "plan")
	u.pings(u.Basalt, true, "without the rule", internet4, demo.Internet)
	u.nothingSeen("without the rule")
	u.Must(u.Basalt, killDevice)
	u.pings(u.Basalt, false, "without the interface", internet4, demo.Internet)
	u.nothingSeen("without the interface")
	u.Must(u.Basalt, "wgkeys apply -q && wgkeys down -q && ip rule del priority 33000")
	u.Same(u.Basalt, origin, "after down")
}

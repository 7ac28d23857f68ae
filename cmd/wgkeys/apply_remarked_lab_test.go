package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
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

package apply_test

import (
	"net/netip"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
)

const ipsecTunnel = `[hosts.hub]
endpoint = "192.0.2.1"
addresses = ["10.9.0.1/24", "fd00:9::1/64"]
[hosts.a]
addresses = ["10.9.0.2/24", "fd00:9::2/64"]
`

// TestIPsec: a policy that takes for certain what is for a peer is found, and no other.
func TestIPsec(t *testing.T) {
	prefix := netip.MustParsePrefix
	policy := func(from, to string, change func(*apply.IPsecPolicy)) apply.IPsecPolicy {
		p := apply.IPsecPolicy{Source: prefix(from), Dest: prefix(to), Priority: 100}
		change(&p)
		return p
	}
	tunnels := func(p *apply.IPsecPolicy) { p.To = netip.MustParseAddr("203.0.113.9") }
	blocks := func(p *apply.IPsecPolicy) { p.Blocks = true }
	passes := func(p *apply.IPsecPolicy) { p.Priority = 1 }
	const inside = "what this host sends to hub at 10.9.0.1, INSIDE,"
	const outside = "nothing can be sent to hub at 192.0.2.1, OUTSIDE"
	for name, c := range map[string]struct {
		policies []apply.IPsecPolicy
		text     string
		want     string
	}{
		"to another gateway": {policies: []apply.IPsecPolicy{policy("10.9.0.0/16", "10.0.0.0/8", tunnels)},
			want: inside + " does not go into the tunnel: its IPsec policy for 10.0.0.0/8 sends it to 203.0.113.9 instead"},
		"blocked": {policies: []apply.IPsecPolicy{policy("0.0.0.0/0", "10.9.0.1/32", blocks)}, want: inside},
		"IPv6": {policies: []apply.IPsecPolicy{policy("::/0", "fd00::/16", tunnels)},
			want: "hub at fd00:9::1, INSIDE, does not go into the tunnel"},
		"of other networks": {policies: []apply.IPsecPolicy{policy("10.8.0.0/16", "10.0.0.0/8", tunnels)}},
		"past one that passes": {policies: []apply.IPsecPolicy{policy("10.9.0.0/16", "10.0.0.0/8", tunnels),
			policy("0.0.0.0/0", "10.9.0.0/24", passes)}},
		"behind one that may": {policies: []apply.IPsecPolicy{policy("10.9.0.0/16", "10.0.0.0/8", tunnels),
			policy("0.0.0.0/0", "10.9.0.0/24", func(p *apply.IPsecPolicy) { p.Priority, p.Protocol = 1, 6 })}},
		"of another mark": {policies: []apply.IPsecPolicy{policy("10.9.0.0/16", "10.0.0.0/8", func(p *apply.IPsecPolicy) {
			tunnels(p)
			p.Mark = apply.Mark{Value: 1, Mask: 255}
		})}},
		"to a gateway INSIDE": {policies: []apply.IPsecPolicy{policy("10.9.0.0/16", "10.0.0.0/8",
			func(p *apply.IPsecPolicy) { p.To = netip.MustParseAddr("10.9.0.1") })}},
		"kept away": {policies: []apply.IPsecPolicy{policy("10.9.0.0/16", "10.0.0.0/8", tunnels)},
			text: ipsecTunnel + "sysctls = { \"net.ipv4.conf.wg0.disable_xfrm\" = 1 }\n"},
		"encrypted, blocked": {policies: []apply.IPsecPolicy{policy("0.0.0.0/0", "192.0.2.0/24", func(p *apply.IPsecPolicy) {
			p.Blocks, p.Protocol, p.DestPort = true, 17, 51820
		})}, want: outside},
		"encrypted, another port": {policies: []apply.IPsecPolicy{policy("0.0.0.0/0", "192.0.2.0/24",
			func(p *apply.IPsecPolicy) { p.Blocks, p.Protocol, p.DestPort = true, 17, 53 })}},
		"encrypted, by IPsec":  {policies: []apply.IPsecPolicy{policy("0.0.0.0/0", "192.0.2.0/24", tunnels)}},
		"encrypted, somewhere": {policies: []apply.IPsecPolicy{policy("198.51.100.0/24", "192.0.2.0/24", blocks)}},
	} {
		t.Run(name, func(t *testing.T) {
			text := c.text
			if text == "" {
				text = ipsecTunnel
			}
			plan := planOn(t, view(t, text, "a", nil), func(s *apply.State) { s.IPsec = c.policies })
			got := strings.Join(plan.Findings, "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("the findings are %q, want %q", got, c.want)
			}
		})
	}
}

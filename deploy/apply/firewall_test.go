package apply_test

import (
	"net/netip"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/firewall"
)

// closed is a chain that drops by its policy, and others of its table.
func closed(family firewall.Family, hook firewall.Hook, name string, others ...string) firewall.Ruleset {
	r := firewall.Ruleset{Chains: []firewall.Chain{{Family: family, Table: "filter", Name: name, Hook: hook, Drops: true}}}
	for _, o := range others {
		r.Chains = append(r.Chains, firewall.Chain{Family: family, Table: "filter", Name: o, Hook: firewall.NoHook})
	}
	return r
}

func open(r firewall.Ruleset, port byte) firewall.Ruleset {
	r.Chains[0].Rules = append(r.Chains[0].Rules, firewall.Rule{
		firewall.Load{From: firewall.Transport, Offset: 2, Len: 2, Register: 1},
		firewall.Cmp{Register: 1, Data: []byte{0x77, port}}, firewall.Verdict{Code: firewall.VerdictAccept}})
	return r
}

// notFrom drops what comes from a network by another interface, as tailscaled(8) has it.
func notFrom(network, link string) firewall.Ruleset {
	r := closed(firewall.IPv4, firewall.Input, "INPUT")
	r.Chains[0].Drops = false
	p := netip.MustParsePrefix(network)
	n := p.Bits() / 8
	r.Chains[0].Rules = []firewall.Rule{{
		firewall.Load{From: firewall.Meta, Key: 6, Register: 1}, // NFT_META_IIFNAME
		firewall.Cmp{Register: 1, Op: 1, Data: append([]byte(link), 0)},
		firewall.Load{From: firewall.Network, Offset: 12, Len: n, Register: 1},
		firewall.Cmp{Register: 1, Data: p.Addr().AsSlice()[:n]}, firewall.Verdict{Code: firewall.VerdictDrop}}}
	return r
}

// bridged drops what goes to a link in a chain of this name, to which FORWARD leads first, and
// has others.
func bridged(table, chain, link string, others ...string) firewall.Ruleset {
	r := closed(firewall.IPv4, firewall.Forward, "FORWARD", append(others, chain)...)
	r.Chains[0].Rules = []firewall.Rule{{firewall.Verdict{Code: firewall.VerdictJump, Chain: chain}}}
	for i := range r.Chains {
		r.Chains[i].Table, r.Chains[i].Drops = table, false
	}
	r.Chains[len(r.Chains)-1].Rules = []firewall.Rule{{
		firewall.Load{From: firewall.Meta, Key: 7, Register: 1}, // NFT_META_OIFNAME
		firewall.Cmp{Register: 1, Data: append([]byte(link), 0)}, firewall.Verdict{Code: firewall.VerdictDrop}}}
	return r
}

// through says that a network which peers reach through the host is on a link.
func through(prefix, link string) func(*apply.State) {
	return func(s *apply.State) {
		s.Through = append(s.Through, apply.Reached{Prefix: netip.MustParsePrefix(prefix), Link: link, Index: 12})
	}
}

// TestFirewallRules: what to add is said in the words of whoever made the chain,
// and only where it is certain.
func TestFirewallRules(t *testing.T) {
	two := strings.Replace(beforeChange, "forward = true", "forward = true\nmasquerade = true", 1)
	alone, _, _ := strings.Cut(strings.Replace(beforeChange, ", \"2001:db8:7767::1/64\"", "", 1), "[hosts.chert]")
	alone = strings.NewReplacer(", \"2001:db8:7767::2/128\"", "", "routes = [\"::/0\"]\n", "").Replace(alone)
	answering := strings.Replace(alone, "[hosts.basalt]", "[hosts.basalt]\nendpoint = \"192.0.2.7:4500\"", 1)
	all := `[hosts.shale]
addresses = ["10.9.0.2/24"]
[hosts.basalt]
endpoint = "192.0.2.7"
addresses = ["10.9.0.1/24"]
routes = ["0.0.0.0/0"]
`
	const nft, tables = false, true
	for _, c := range []struct {
		name, text string
		rules      firewall.Ruleset
		iptables   bool
		look       func(*apply.State)
		want       []string
	}{
		{name: "nftables", text: alone, rules: closed(firewall.INet, firewall.Forward, "fwd"), want: []string{
			"firewall chain fwd of table inet filter (the policy) drops IPv4 from the tunnel to eth0: nft insert rule inet filter fwd iifname wg0 accept, and",
			"drops IPv4 answers from eth0 to the tunnel: nft insert rule inet filter fwd oifname wg0 ct state established,related accept, and"}},
		{name: "peer to peer", text: two, rules: closed(firewall.IPv4, firewall.Forward, "FORWARD"), iptables: nft,
			want: []string{
				"drops IPv4 from peer to peer, IPv4 from the tunnel to eth0: nft insert rule ip filter FORWARD iifname wg0 accept, and", "drops IPv4 answers"}},
		{name: "iptables", text: alone, rules: closed(firewall.IPv4, firewall.Forward, "FORWARD"), iptables: tables,
			want: []string{
				": iptables -I FORWARD -i wg0 -j ACCEPT, and",
				": iptables -I FORWARD -o wg0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT, and"}},
		{name: "a table of that name, made by hand", text: alone, rules: closed(firewall.IPv4, firewall.Forward, "forward"),
			iptables: tables, want: []string{
				"nft insert rule ip filter forward iifname wg0", "oifname wg0"}},
		{name: "Docker", text: alone, rules: closed(firewall.IPv4, firewall.Forward, "FORWARD", "DOCKER-USER", "DOCKER"),
			iptables: tables, want: []string{
				": iptables -I DOCKER-USER -i wg0 -j ACCEPT, and", ": iptables -I DOCKER-USER -o wg0 -m"}},
		{name: "ufw", text: alone, rules: closed(firewall.IPv4, firewall.Forward, "FORWARD", "ufw-before-input"),
			iptables: tables, want: []string{
				": ufw route allow in on wg0, and", ": ufw route allow out on wg0, and"}},
		{name: "another family", text: alone, rules: closed(firewall.IPv6, firewall.Forward, "FORWARD"), iptables: tables},
		{name: "a port", text: alone, rules: closed(firewall.INet, firewall.Input, "input"), want: []string{
			"drops what peers send to UDP port 30567, OUTSIDE, over IPv4: nft insert rule inet filter input udp dport 30567 accept, and"}},
		{name: "ufw's port", text: alone, rules: closed(firewall.IPv4, firewall.Input, "INPUT", "ufw-before-input"),
			iptables: tables, want: []string{": ufw allow 30567/udp, and"}},
		{name: "the port is open", text: alone, rules: open(closed(firewall.INet, firewall.Input, "input"), 0x67)},
		{name: "another port is open", text: alone, rules: open(closed(firewall.INet, firewall.Input, "input"), 0x68),
			want: []string{"UDP port 30567"}},
		{name: "no peer comes to it", text: strings.Replace(alone, "[hosts.basalt]",
			"[hosts.basalt]\nendpoint = \"192.0.2.7\"", 1), rules: closed(firewall.INet, firewall.Input, "input"),
			want: []string{
				"drops answers of peers at UDP port 30567, OUTSIDE, over IPv4: nft insert rule inet filter input ct state established,related accept, and"}},
		{name: "IPv6 is closed, and IPv4 not filtered", text: alone, rules: closed(firewall.IPv6, firewall.Input, "INPUT"),
			look: dual, want: []string{"over IPv6"}},
		{name: "IPv6 is closed, and peers come by IPv4", text: alone, rules: closed(firewall.IPv6, firewall.Input, "INPUT"),
			look: func(s *apply.State) {
				dual(s)
				s.Peers = []apply.Peer{{PublicKey: publicKey("basalt"), Endpoint: netip.MustParseAddrPort("192.0.2.7:1")}}
			}},
		{name: "IPv6 is closed, and IPv4 was opened", text: alone, look: dual, rules: firewall.Ruleset{Chains: append(
			closed(firewall.IPv6, firewall.Input, "INPUT").Chains, open(closed(firewall.IPv4, firewall.Input, "INPUT"),
				0x67).Chains...)}},
		{name: "what is sent", text: answering, rules: closed(firewall.INet, firewall.Output, "out"), want: []string{
			"chain out of table inet filter (the policy) drops what is sent to peers at UDP port 4500, OUTSIDE, over IPv4: nft insert rule inet filter out udp dport 4500 accept, and"}},
		{name: "what is sent, after it was routed", text: answering, rules: closed(firewall.IPv4, firewall.Postrouting,
			"POSTROUTING"), iptables: tables, want: []string{
			"IPv4 from the tunnel", "IPv4 answers", "iptables -I POSTROUTING -p udp --dport 4500 -j ACCEPT"}},
		{name: "answers to what is sent", text: answering, rules: closed(firewall.IPv4, firewall.Input, "INPUT"),
			iptables: tables, want: []string{
				"drops answers of peers at UDP port 4500, OUTSIDE, over IPv4: iptables -I INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT, and"}},
		{name: "the other family of it", text: answering, rules: closed(firewall.IPv6, firewall.Output, "OUTPUT")},
		{name: "the peers' own addresses", text: all, rules: notFrom("10.9.0.0/16", "tailscale0"),
			iptables: tables, want: []string{
				"what comes from the peers' addresses in 10.9.0.1/32, INSIDE, to this host: iptables -I INPUT -i wg0 "}},
		{name: "those of others", text: all, rules: notFrom("10.8.0.0/16", "tailscale0")},
		{name: "a port, and the uplink is a tunnel", text: alone, rules: open(closed(firewall.INet, firewall.Input, "input"), 0x68),
			look: func(s *apply.State) {
				s.Uplinks = []apply.Uplink{{Name: "tun0", IPv4: true}}
				s.Interfaces = append(s.Interfaces, apply.Interface{Name: "tun0", Index: 9, Kind: "tuntap", IPv4: true})
				from := firewall.Rule{firewall.Load{From: firewall.Meta, Key: 6, Register: 1},
					firewall.Cmp{Register: 1, Data: []byte("tun0\x00")}, firewall.Verdict{Code: firewall.VerdictAccept}}
				s.Firewall.Chains[0].Rules = append(s.Firewall.Chains[0].Rules, from)
			}},
		{name: "libvirt", text: alone, rules: bridged("filter", "LIBVIRT_FWI", "virbr0"), iptables: tables,
			look: through("192.168.122.0/24", "virbr0"), want: []string{
				"drops IPv4 from the tunnel to 192.168.122.0/24 on virbr0: iptables -I FORWARD -i wg0 -o virbr0 -j ACCEPT, and for good in /etc/libvirt/hooks/network"}},
		{name: "libvirt's chains come before ufw's and Docker's", text: alone, iptables: tables,
			rules: bridged("filter", "LIBVIRT_FWI", "virbr0", "ufw-before-input", "DOCKER-USER"),
			look:  through("192.168.122.0/24", "virbr0"), want: []string{": iptables -I FORWARD -i wg0 -o virbr0 -j ACCEPT, "}},
		{name: "Docker's chains come before ufw's", text: alone, iptables: tables,
			rules: bridged("filter", "DOCKER", "docker0", "ufw-before-input", "DOCKER-USER"),
			look:  through("172.17.0.0/16", "docker0"), want: []string{
				": iptables -I DOCKER-USER -i wg0 -o docker0 -j ACCEPT, and"}},
		{name: "ufw, and a network that it closes", text: alone, iptables: tables,
			rules: bridged("filter", "ufw-reject-forward", "lan0", "ufw-before-input"),
			look:  through("10.5.0.0/16", "lan0"), want: []string{": ufw route allow in on wg0 out on lan0, and"}},
		{name: "libvirt with nftables", text: alone, rules: bridged("libvirt_network", "guest_input", "virbr-1"),
			look: through("192.168.122.0/24", "virbr-1"), want: []string{
				`: nft insert rule ip libvirt_network FORWARD iifname wg0 oifname '"virbr-1"' accept, and for good in /etc/libvirt`}},
		{name: "Docker with nftables", text: alone, rules: bridged("docker-bridges", "filter-forward-in__docker0", "docker0"),
			look: through("172.17.0.0/16", "docker0"), want: []string{"and for good make that network of Docker's with gateway_mode"}},
		{name: "a part of a prefix is closed", text: alone, rules: bridged("filter", "LIBVIRT_FWI", "virbr0"),
			iptables: tables, look: func(s *apply.State) {
				through("192.168.122.0/24", "virbr0")(s)
				s.Through[0].Part = true
			}},
		{name: "another's network is closed", text: alone, rules: bridged("filter", "LIBVIRT_FWI", "virbr1"),
			iptables: tables, look: through("192.168.122.0/24", "virbr0")},
		{name: "all is closed, to a network as well", text: alone, rules: closed(firewall.IPv4, firewall.Forward, "FORWARD"),
			iptables: tables, look: through("192.168.122.0/24", "virbr0"), want: []string{
				"IPv4 from the tunnel to eth0, IPv4 from the tunnel to 192.168.122.0/24 on virbr0: iptables -I FORWARD -i wg0 -j",
				"answers from eth0 to the tunnel, IPv4 answers from 192.168.122.0/24 on virbr0 to the tunnel: iptables -I FORWARD -o"}},
		{name: "no route", text: alone, look: func(s *apply.State) {
			s.Through = []apply.Reached{{Prefix: netip.MustParsePrefix("10.5.0.0/16"), Addr: netip.MustParseAddr("10.5.0.1"),
				Unrouted: true}}
		}, want: []string{"nothing that peers send to 10.5.0.0/16 through this host gets there: it has no route to it: ip -4 route get 10.5.0.1"}},
		{name: "a peer from which nothing is taken, before it is up", text: alone, look: func(s *apply.State) {
			s.Through = []apply.Reached{{Prefix: netip.MustParsePrefix("10.5.0.0/16"), Addr: netip.MustParseAddr("10.5.0.1"),
				Link: "lan0", Index: 12, Refused: netip.MustParseAddr("10.9.0.2")}}
		}},
		{name: "no uplink, and two networks", text: alone, rules: closed(firewall.IPv4, firewall.Forward, "c"),
			look: func(s *apply.State) {
				s.Uplinks = nil
				s.Interfaces = append(s.Interfaces, apply.Interface{Name: "lan0", Index: 9, Kind: "veth", IPv4: true})
			}, want: []string{"IPv4 from the tunnel to eth0, IPv4 from the tunnel to lan0", "answers from eth0"}},
	} {
		plan := planOn(t, view(t, c.text, "shale", nil), func(s *apply.State) {
			s.Interfaces = []apply.Interface{{Name: "eth0", Index: 2, Kind: "device", IPv4: true}}
			s.Firewall = c.rules
			s.Firewall.IPTables = c.iptables
			if c.look != nil {
				c.look(s)
			}
		})
		if len(plan.Findings) != len(c.want) {
			t.Errorf("%s: the findings are %q", c.name, plan.Findings)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(plan.Findings[i], want) {
				t.Errorf("%s: no %q in %q", c.name, want, plan.Findings[i])
			}
		}
	}
}

func dual(s *apply.State) { s.Interfaces[0].IPv6 = true }

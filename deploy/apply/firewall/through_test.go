package firewall

import (
	"net/netip"
	"slices"
	"testing"
)

func dest(prefix string) Rule {
	p := netip.MustParsePrefix(prefix)
	n := p.Bits() / 8
	return Rule{Load{From: Network, Offset: 16, Len: n, Register: 1}, Cmp{Register: 1, Data: p.Addr().AsSlice()[:n]}}
}

// direct is a packet from a tunnel to a network of the host's.
func direct(to string) Packet {
	return Packet{Family: IPv4, Protocol: 6, In: Link{"wg0", 7}, Out: Link{"docker0", 3},
		Source: netip.MustParsePrefix("10.9.0.0/24"), Dest: netip.MustParsePrefix(to), Remote: true, Direct: true}
}

// TestDirect: to whom a packet was sent is known from the beginning, and that it is not for
// this host, where nobody had to translate its destination.
func TestDirect(t *testing.T) {
	local := Rule{Load{From: FIB, Register: 1}, Cmp{Register: 1, Data: word(typeLocal)}}
	for _, c := range []struct {
		name   string
		rule   Rule
		to     string
		direct bool
		want   bool
	}{
		{"its address", dest("172.17.0.2/32"), "172.17.0.2/32", true, true},
		{"its network", dest("172.17.0.0/16"), "172.17.0.2/32", true, true},
		{"another address", dest("172.17.0.3/32"), "172.17.0.2/32", true, false},
		{"one of its addresses", dest("172.17.0.3/32"), "172.17.0.0/16", true, false},
		{"what may be translated", dest("172.17.0.2/32"), "172.17.0.2/32", false, false},
		{"this host's", local, "172.17.0.2/32", true, false},
	} {
		r := &Ruleset{Chains: []Chain{{Family: IPv4, Table: "raw", Name: "PREROUTING", Hook: Prerouting, Priority: -300,
			Rules: []Rule{c.rule.then(VerdictDrop)}}}}
		p := direct(c.to)
		p.Direct = c.direct
		if got := r.Drops(p, Prerouting) != nil; got != c.want {
			t.Errorf("%s: dropped for certain: %v", c.name, got)
		}
	}
}

// TestTranslates: only a translation that the packet may come to counts.
func TestTranslates(t *testing.T) {
	to := Translation{Addr: netip.MustParseAddr("172.17.0.2")}
	local := Rule{Load{From: FIB, Register: 1}, Cmp{Register: 1, Data: word(typeLocal)}, to}
	for _, c := range []struct {
		name string
		rule Rule
		want bool
	}{
		{"all", Rule{to}, true},
		{"what comes from the tunnel", append(in("wg0"), to), true},
		{"what comes from elsewhere", append(in("eth0"), to), false},
		{"what is for this host, as Docker has it", local, false},
		{"its network, by another target", append(dest("172.17.0.0/16"), Target{"NETMAP"}), true},
		{"another network", append(dest("172.18.0.0/16"), Target{"NETMAP"}), false},
		{"some of it", append(dest("172.17.0.9/32"), to), true},
		{"nothing", Rule{Statement{}}, false},
	} {
		r := &Ruleset{Chains: []Chain{{Family: IPv4, Table: "nat", Name: "PREROUTING", Hook: Prerouting, Priority: -100,
			NAT: true, Rules: []Rule{c.rule}}}}
		if got := r.Translates(direct("172.17.0.0/16")); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestNamed: single addresses that rules ask for before packets are routed, as nftables and as
// legacy tables have them.
func TestNamed(t *testing.T) {
	legacy := func(mask byte) Rule {
		r := dest("172.17.0.5/32")
		return Rule{r[0], Bitwise{Source: 1, Dest: 1, Mask: []byte{0xff, 0xff, 0xff, mask}}, r[1]}
	}
	r := &Ruleset{Chains: []Chain{
		{Family: IPv4, Table: "raw", Name: "PREROUTING", Hook: Prerouting, Rules: []Rule{
			append(dest("172.17.0.2/32"), name(metaIIFNAME, 1, "docker0\x00").then(VerdictDrop)...),
			append(in("wg0"), dest("172.17.0.3/32")...), dest("172.17.0.2/32"), dest("172.18.0.2/32"), dest("172.17.0.0/16"),
			source("172.17.0.4/32"), legacy(0xff)}},
		{Family: IPv4, Table: "raw", Name: "partly", Hook: Prerouting, Rules: []Rule{legacy(0xf0)}},
		{Family: IPv4, Table: "filter", Name: "FORWARD", Hook: Forward, Rules: []Rule{dest("172.17.0.6/32")}},
	}}
	var want []netip.Addr
	for _, a := range []string{"172.17.0.2", "172.17.0.3", "172.17.0.5"} {
		want = append(want, netip.MustParseAddr(a))
	}
	if got := r.Named(netip.MustParsePrefix("172.17.0.0/16")); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := r.Named(netip.MustParsePrefix("fd00::/8")); got != nil {
		t.Errorf("of IPv6: %v", got)
	}
}

// TestDropsBy: a chain is why a packet is dropped if it drops it by itself.
func TestDropsBy(t *testing.T) {
	r := ruleset(true, []Rule{{Verdict{Code: VerdictJump, Chain: "a"}}, {Verdict{Code: VerdictJump, Chain: "b"}}},
		map[string][]Rule{"a": {state(bitEstablished).then(VerdictAccept)},
			"b": {in("eth0").then(VerdictReturn), {Target{"REJECT"}}}})
	d := r.Drops(direct("172.17.0.0/16"), Forward)
	if d == nil || r.DropsBy(d, "a") || !r.DropsBy(d, "b") || r.DropsBy(d, "none") {
		t.Errorf("%+v", d)
	}
}

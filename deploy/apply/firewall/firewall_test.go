package firewall

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// Rules in the words of this package, as nft(8) would have the kernel make them.
func name(key uint32, op uint32, name string) Rule {
	return Rule{Load{From: Meta, Key: key, Register: 1}, Cmp{Register: 1, Op: op, Data: []byte(name)}}
}

func in(name_ string) Rule { return name(metaIIFNAME, 0, name_+"\x00") }

func (r Rule) then(code int32, chain ...string) Rule {
	v := Verdict{Code: code}
	if chain != nil {
		v.Chain = chain[0]
	}
	return append(r[:len(r):len(r)], v)
}

// state is "ct state …": a load, a mask, and not 0.
func state(bits uint32) Rule {
	word := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	return Rule{Load{From: Conntrack, Key: ctState, Register: 1},
		Bitwise{Source: 1, Dest: 1, Mask: word(bits), Xor: word(0)}, Cmp{Register: 1, Op: 1, Data: word(0)}}
}

// status is "ct status …".
func status(bits uint32) Rule {
	r := state(bits)
	r[0] = Load{From: Conntrack, Key: ctStatus, Register: 1}
	return r
}

func source(prefix string) Rule {
	p := netip.MustParsePrefix(prefix)
	n := p.Bits() / 8
	return Rule{Load{From: Network, Offset: 12, Len: n, Register: 1},
		Cmp{Register: 1, Op: 0, Data: p.Addr().AsSlice()[:n]}}
}

func ruleset(drops bool, base []Rule, others map[string][]Rule) *Ruleset {
	r := &Ruleset{Chains: []Chain{{Family: INet, Table: "t", Name: "base", Hook: Forward, Drops: drops, Rules: base}}}
	for n, rules := range others {
		r.Chains = append(r.Chains, Chain{Family: INet, Table: "t", Name: n, Hook: NoHook, Rules: rules})
	}
	return r
}

// TestCertain: only what is dropped on every way through the rules is claimed.
func TestCertain(t *testing.T) {
	other := Rule{Other{"limit"}}
	ports := Rule{Load{From: Transport, Offset: 2, Len: 2, Register: 1}, Lookup{Register: 1, Set: "ports"}}
	for _, c := range []struct {
		name   string
		drops  bool
		rules  []Rule
		others map[string][]Rule
		want   bool
	}{
		{"an empty chain accepts", false, nil, nil, false},
		{"a policy", true, nil, nil, true},
		{"accepted before", true, []Rule{in("wg0").then(VerdictAccept)}, nil, false},
		{"another interface", true, []Rule{in("wg1").then(VerdictAccept)}, nil, true},
		{"by the beginning of the name", true, []Rule{name(metaIIFNAME, 0, "wg").then(VerdictAccept)}, nil, false},
		{"all but another interface", false, []Rule{name(metaIIFNAME, 1, "wg1\x00").then(VerdictDrop)}, nil, true},
		{"established only", true, []Rule{state(bitEstablished).then(VerdictAccept)}, nil, true},
		{"new ones too", true, []Rule{state(bitEstablished | bitNew).then(VerdictAccept)}, nil, false},
		{"perhaps accepted", true, []Rule{other.then(VerdictAccept)}, nil, false},
		{"perhaps dropped", false, []Rule{other.then(VerdictDrop)}, nil, false},
		{"perhaps dropped, then surely", false, []Rule{other.then(VerdictDrop), {Verdict{Code: VerdictDrop}}}, nil, true},
		{"perhaps dropped, then accepted", true, []Rule{other.then(VerdictDrop), {Verdict{Code: VerdictAccept}}}, nil, false},
		{"from where it comes", true, []Rule{source("10.9.0.0/24").then(VerdictAccept)}, nil, false},
		{"from within it", true, []Rule{source("10.0.0.0/8").then(VerdictAccept)}, nil, false},
		{"from elsewhere", true, []Rule{source("10.8.0.0/16").then(VerdictAccept)}, nil, true},
		{"from one of it", true, []Rule{source("10.9.0.7/32").then(VerdictAccept)}, nil, false},
		{"one of it is dropped", false, []Rule{source("10.9.0.7/32").then(VerdictDrop)}, nil, false},
		{"to some port", true, []Rule{ports.then(VerdictAccept)}, nil, false},
		{"a set that is not read", true,
			[]Rule{{Load{From: Network, Offset: 16, Len: 4, Register: 1}, Lookup{Register: 1, Set: "unread"},
				Verdict{Code: VerdictAccept}}}, nil, false},
		{"jumps and comes back", true, []Rule{in("wg0").then(VerdictJump, "c"), {Verdict{Code: VerdictAccept}}},
			map[string][]Rule{"c": {in("wg0").then(VerdictReturn), {Verdict{Code: VerdictDrop}}}}, false},
		{"goes and does not come back", true, []Rule{in("wg0").then(VerdictGoto, "c"), {Verdict{Code: VerdictAccept}}},
			map[string][]Rule{"c": {}}, true},
		{"jumps and is dropped", false, []Rule{in("wg0").then(VerdictJump, "c")},
			map[string][]Rule{"c": {{Target{"LOG"}}, {Target{"REJECT"}}}}, true},
		{"a target that nobody knows", false, []Rule{{Target{"XYZ"}}}, nil, false},
		{"queued", false, []Rule{{Verdict{Code: VerdictUnknown}}}, nil, false},
		{"a chain that is not there", true, []Rule{{Verdict{Code: VerdictJump, Chain: "none"}}}, nil, false},
		{"in circles, which the kernel refuses", true, []Rule{{Verdict{Code: VerdictJump, Chain: "base"}}}, nil, false},
		{"not tracked, perhaps", true, []Rule{{Other{"x"}, Untrack{}}, state(bitEstablished).then(VerdictAccept)}, nil,
			false},
		{"a destination that is translated", true, []Rule{status(statusDestNAT).then(VerdictAccept)}, nil, true},
		{"a source that is translated, perhaps", true, []Rule{status(1 << 4).then(VerdictAccept)}, nil, false},
		{"what a mark says is not known", true,
			[]Rule{{Load{From: Meta, Key: 3, Register: 1}, Cmp{Register: 1, Data: []byte{7, 0, 0, 0}},
				Verdict{Code: VerdictAccept}}}, nil, false},
	} {
		r := ruleset(c.drops, c.rules, c.others)
		r.Sets = []Set{{Family: INet, Table: "t", Name: "ports", Elements: []Element{{Key: []byte{0, 22}}}},
			{Family: INet, Table: "t", Name: "unread", Unread: true}}
		p := Packet{Family: IPv4, Protocol: 6, In: Link{"wg0", 7}, Out: Link{"eth0", 2},
			Source: netip.MustParsePrefix("10.9.0.0/24")}
		if got := r.Drops(p, Forward) != nil; got != c.want {
			t.Errorf("%s: dropped for certain: %v", c.name, got)
		}
	}
}

// TestRanges: a set of ranges has its elements in any order.
func TestRanges(t *testing.T) {
	key := func(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
	s := Set{Family: INet, Table: "t", Name: "ports", Elements: []Element{
		{Key: key(600), End: true, Ranges: true}, {Key: key(500), Ranges: true}, {Key: key(54), End: true, Ranges: true},
		{Key: key(53), Ranges: true}, {Key: key(0), End: true, Ranges: true}, {Key: key(60000), Ranges: true}}}
	r := &Ruleset{Sets: []Set{s}, Chains: []Chain{{Family: INet, Table: "t", Name: "c", Hook: Input, Rules: []Rule{
		{Load{From: Transport, Offset: 2, Len: 2, Register: 1}, Lookup{Register: 1, Set: "ports"},
			Verdict{Code: VerdictDrop}}}}}}
	for port, want := range map[int]bool{52: false, 53: true, 54: false, 499: false, 500: true, 599: true, 600: false,
		59999: false, 60000: true, 65535: true, 0: false} {
		if got := r.Drops(Packet{Family: IPv6, Protocol: 17, DestPort: port}, Input) != nil; got != want {
			t.Errorf("port %d is dropped: %v", port, got)
		}
	}
}

// TestMoved: a packet for this host is sent elsewhere for certain where neither its port
// nor its address stays one of the tunnel's, and no other chain has decided before.
func TestMoved(t *testing.T) {
	port := func(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
	toPort := func(n uint16) Rule {
		return Rule{Immediate{Register: 1, Data: port(n)}, Translation{PortRegister: 1, LastRegister: 1}}
	}
	toHost := func(a string) Rule {
		return Rule{Immediate{Register: 2, Data: netip.MustParseAddr(a).AsSlice()}, Translation{AddrRegister: 2}}
	}
	local := Rule{Load{From: FIB, Register: 1}, Cmp{Register: 1, Data: []byte{2, 0, 0, 0}}}
	for _, c := range []struct {
		name  string
		want  bool
		rules []Rule
	}{
		{"to another port", true, []Rule{toPort(53)}},
		{"to its own", false, []Rule{toPort(7)}},
		{"to another host", true, []Rule{toHost("172.17.0.2")}},
		{"to this one", false, []Rule{toHost("192.0.2.1")}},
		{"what is for this host", true, []Rule{append(local[:2:2], toPort(53)...)}},
		{"to one of several", false, []Rule{{Translation{Port: 7, LastPort: 9}}}},
		{"to one of several others", true, []Rule{{Translation{Port: 8, LastPort: 9}}}},
		{"to what is not known", false, []Rule{{Load{From: Meta, Key: 3, Register: 1},
			Translation{PortRegister: 1, LastRegister: 1}}}},
		{"perhaps", false, []Rule{append(Rule{Other{"x"}}, toPort(53)...)}},
		{"perhaps to one, then to another", false, []Rule{append(Rule{Other{"x"}}, toPort(7)...), toPort(53)}},
		{"accepted before", false, []Rule{{Verdict{Code: VerdictAccept}}, toPort(53)}},
		{"dropped", true, []Rule{{Other{"x"}, Verdict{Code: VerdictDrop}}, toPort(53)}},
		{"not tracked, perhaps", false, []Rule{{Other{"x"}, Untrack{}}, toPort(53)}},
	} {
		r := &Ruleset{Local: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Chains: []Chain{
			{Family: INet, Table: "t", Name: "c", NAT: true, Hook: Prerouting, Priority: -100, Rules: c.rules}}}
		p := Packet{Family: IPv4, Protocol: 17, In: Link{"eth0", 2}, DestPort: 7, Local: true}
		if got := r.Drops(p, Ingress, Prerouting, Input); got != nil != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
		p.Answer = true
		if got := r.Drops(p, Ingress, Prerouting, Input); got != nil {
			t.Errorf("%s: an answer: %+v", c.name, got)
		}
	}
}

// TestInterfaces: a chain of an interface sees its packets only, before they are routed
// and tracked, or after.
func TestInterfaces(t *testing.T) {
	all := []Rule{{Verdict{Code: VerdictDrop}}}
	for _, c := range []struct {
		name  string
		want  bool
		chain Chain
	}{
		{"where it comes in", true, Chain{Family: NetDev, Hook: Ingress, Devices: []string{"x", "eth0"}, Rules: all}},
		{"of both families", true, Chain{Family: INet, Hook: Ingress, Devices: []string{"eth0"}, Rules: all}},
		{"where it leaves", true, Chain{Family: NetDev, Hook: Egress, Devices: []string{"wg0"}, Rules: all}},
		{"where it leaves, on its way in", false, Chain{Family: NetDev, Hook: Ingress, Devices: []string{"wg0"}, Rules: all}},
		{"all others", false, Chain{Family: NetDev, Hook: Ingress, Devices: []string{"eth1"}, Drops: true}},
		{"by state", false, Chain{Family: INet, Hook: Ingress, Devices: []string{"eth0"}, Drops: true,
			Rules: []Rule{state(bitEstablished).then(VerdictAccept)}}},
		{"by where it goes", false, Chain{Family: INet, Hook: Ingress, Devices: []string{"eth0"}, Drops: true,
			Rules: []Rule{name(metaOIFNAME, 0, "wg0\x00").then(VerdictAccept)}}},
		{"by the family of the table", true, Chain{Family: NetDev, Hook: Ingress, Devices: []string{"eth0"}, Drops: true,
			Rules: []Rule{{Load{From: Meta, Key: metaNFPROTO, Register: 1}, Cmp{Register: 1, Data: []byte{2}},
				Verdict{Code: VerdictAccept}}}}},
	} {
		r := &Ruleset{Chains: []Chain{c.chain}}
		p := Packet{Family: IPv4, Protocol: 6, In: Link{"eth0", 2}, Out: Link{"wg0", 7}}
		if got := r.Drops(p, Ingress, Prerouting, Forward, Postrouting, Egress); got != nil != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestLinkProperties: rules may ask for the group, the type and the kind of a link.
func TestLinkProperties(t *testing.T) {
	ask := func(key uint32, data ...byte) []Rule {
		return []Rule{{Load{From: Meta, Key: key, Register: 1}, Cmp{Register: 1, Data: data},
			Verdict{Code: VerdictAccept}}}
	}
	word := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	short := func(n uint16) []byte { return binary.NativeEndian.AppendUint16(nil, n) }
	for _, c := range []struct {
		name  string
		rules []Rule
		drops bool
	}{
		{"its group", ask(metaIIFGROUP, word(7)...), false},
		{"another group", ask(metaIIFGROUP, word(8)...), true},
		{"the group of the other link", ask(metaOIFGROUP, word(0)...), false},
		{"another group of that", ask(metaOIFGROUP, word(7)...), true},
		{"its type", ask(metaIIFTYPE, short(65534)...), false},
		{"another type", ask(metaIIFTYPE, short(1)...), true},
		{"a type that is not known", ask(metaOIFTYPE, short(1)...), false},
		{"its kind", ask(metaIIFKIND, []byte("tun\x00")...), false},
		{"another kind", ask(metaIIFKIND, []byte("veth\x00")...), true},
	} {
		r := ruleset(true, c.rules, nil)
		r.Links = map[int]Property{3: {Group: 7, Type: 65534, Kind: "tun"}, 2: {}}
		if !r.AsksForLinks() {
			t.Errorf("%s: it is not seen to be asked for", c.name)
		}
		p := Packet{Family: IPv4, Protocol: 6, In: Link{"wg0", 3}, Out: Link{"eth0", 2}}
		if got := r.Drops(p, Forward) != nil; got != c.drops {
			t.Errorf("%s: dropped: %t, want %t", c.name, got, c.drops)
		}
	}
	if ruleset(true, []Rule{in("wg0")}, nil).AsksForLinks() {
		t.Error("a name is taken for one of them")
	}
}

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

package xtables

import (
	"encoding/binary"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/firewall"
)

// extensionBytes returns a struct xt_entry_match or xt_entry_target.
func extensionBytes(name string, data []byte) []byte {
	b := make([]byte, 32, 32+len(data))
	copy(b[2:31], name)
	b = append(b, data...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	binary.NativeEndian.PutUint16(b, uint16(len(b)))
	return b
}

func verdict(v int32) []byte {
	return extensionBytes("", binary.NativeEndian.AppendUint32(nil, uint32(v)))
}

// entryBytes returns a struct ipt_entry or ip6t_entry whose header set fills in.
func (l legacy) entryBytes(set func(head []byte), matches, target []byte) []byte {
	b := make([]byte, (l.size+12+7)&^7+16)
	if set != nil {
		set(b)
	}
	binary.NativeEndian.PutUint16(b[l.size+4:], uint16(len(b)+len(matches)))
	binary.NativeEndian.PutUint16(b[l.size+6:], uint16(len(b)+len(matches)+len(target)))
	return append(append(b, matches...), target...)
}

// table returns the chain FORWARD with the policy DROP. One rule jumps to the chain "mine"
// for sources outside of 10.0.0.0/8 (in IPv6 a00::/8), and one goes there.
func (l legacy) table() (*info, []byte) {
	fromElsewhere := func(b []byte) {
		b[0], b[2*l.address] = 10, 0xff
		b[l.flags+1] = 0x08 // IPT_INV_SRCIP
	}
	goesTo := func(b []byte) { b[l.flags] = l.gotos }
	chain := func(to int) [][]byte {
		return [][]byte{
			l.entryBytes(fromElsewhere, extensionBytes("comment", []byte("why")), verdict(int32(to))),
			l.entryBytes(goesTo, nil, verdict(int32(to))),
			l.entryBytes(nil, nil, verdict(-1)), // the policy: NF_DROP
			l.entryBytes(nil, nil, extensionBytes("ERROR", []byte("mine"))),
			l.entryBytes(nil, nil, extensionBytes("LOG", nil)),
			l.entryBytes(nil, nil, verdict(-5)), // XT_RETURN
			l.entryBytes(nil, nil, extensionBytes("ERROR", []byte("ERROR"))),
		}
	}
	at := []int{0}
	for _, e := range chain(0) {
		at = append(at, at[len(at)-1]+len(e))
	}
	var blob []byte
	for _, e := range chain(at[4]) {
		blob = append(blob, e...)
	}
	i := &info{hooks: 1 << 2}
	i.entry[2], i.underflow[2] = 0, uint32(at[2])
	return i, blob
}

// TestParse: chains begin and end in the right places, jumps have the right targets, and a
// policy is not a rule.
func TestParse(t *testing.T) {
	for _, l := range []legacy{legacy4, legacy6} {
		i, blob := l.table()
		chains, err := l.parse("filter", i, blob)
		if err != nil || len(chains) != 3 {
			t.Fatalf("%d chains, %v", len(chains), err)
		}
		network, mask := make([]byte, l.address), make([]byte, l.address)
		network[0], mask[0] = 10, 0xff
		offset := map[firewall.Family]int{firewall.IPv4: 12, firewall.IPv6: 8}[l.family]
		want := []firewall.Chain{
			{Family: l.family, Table: "filter", Name: "FORWARD", Legacy: true, Hook: 2, Drops: true, Rules: []firewall.Rule{
				{
					firewall.Load{From: firewall.Network, Offset: offset, Len: l.address, Register: unix.NFT_REG_1},
					firewall.Bitwise{Source: unix.NFT_REG_1, Dest: unix.NFT_REG_1, Mask: mask},
					firewall.Cmp{Register: unix.NFT_REG_1, Op: unix.NFT_CMP_NEQ, Data: network},
					firewall.Match{Name: "comment", Data: []byte("why\x00\x00\x00\x00\x00")},
					firewall.Verdict{Code: firewall.VerdictJump, Chain: "mine"},
				},
				{firewall.Verdict{Code: firewall.VerdictGoto, Chain: "mine"}},
			}},
			{Family: l.family, Table: "filter", Name: "mine", Legacy: true, Hook: firewall.NoHook, Rules: []firewall.Rule{
				{firewall.Target{Name: "LOG"}},
				{firewall.Verdict{Code: firewall.VerdictReturn}},
			}},
		}
		if !reflect.DeepEqual(chains[:2], want) {
			t.Errorf("family %v:\n%+v\nwant\n%+v", l.family, chains[:2], want)
		}
	}
}

// FuzzParse: any answer of the kernel results in a table or an error.
func FuzzParse(f *testing.F) {
	for _, l := range []legacy{legacy4, legacy6} {
		_, blob := l.table()
		f.Add(blob)
		for cut := 1; cut < len(blob); cut += 7 {
			f.Add(blob[:cut])
		}
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		for _, l := range []legacy{legacy4, legacy6} {
			i, _ := l.table()
			if chains, err := l.parse("filter", i, blob); err != nil && chains != nil {
				t.Errorf("%d chains, and %v", len(chains), err)
			}
		}
	})
}

// TestUntracks: CT keeps connection tracking away, or chooses a helper or a zone.
func TestUntracks(t *testing.T) {
	info := func(flags uint16) []byte {
		return append(binary.NativeEndian.AppendUint16(nil, flags), make([]byte, 38)...)
	}
	for flags, want := range map[uint16]bool{1: true, 3: true, 0: false, 4: false} {
		if _, got := Target("CT", 2, info(flags)).(firewall.Untrack); got != want {
			t.Errorf("flags %d: %v", flags, got)
		}
	}
}

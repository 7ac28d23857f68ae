package firewall

import "testing"

// marked is "meta mark & mask OP value".
func marked(mask, op, value uint32) Rule {
	return Rule{Load{From: Meta, Key: metaMark, Register: 1},
		Bitwise{Source: 1, Dest: 1, Mask: word(mask), Xor: word(0)}, Cmp{Register: 1, Op: op, Data: word(value)}}
}

// marks is "meta mark set mark & keep ^ value".
func marks(keep, value uint32) Rule {
	return Rule{Load{From: Meta, Key: metaMark, Register: 1},
		Bitwise{Source: 1, Dest: 1, Mask: word(keep), Xor: word(value)}, SetMark{Register: 1}}
}

// TestMarks: the mark of an encrypted packet is known, and what is made of it as far as it
// is made for certain.
func TestMarks(t *testing.T) {
	all := ^uint32(0)
	limit := Rule{Other{"limit"}}
	xt := append(word(0x57), append(word(0xff), 0, 0, 0, 0)...)
	for _, c := range []struct {
		name  string
		rules []Rule
		want  string
	}{
		{"none", nil, ""},
		{"any mark is dropped", []Rule{marked(all, 1, 0).then(VerdictDrop)}, "dropped"},
		{"another mark is dropped", []Rule{marked(0x8000, 0, 0x8000).then(VerdictDrop)}, ""},
		{"iptables' match", []Rule{Rule{Match{"mark", 1, xt}}.then(VerdictDrop)}, "dropped"},
		{"another mark", []Rule{marks(0, 1)}, "remarked"},
		{"another mark beside it", []Rule{marks(0xffff00ff, 0x100)}, ""},
		{"perhaps another", []Rule{append(limit[:1:1], marks(0, 1)...)}, ""},
		{"another, where it came so far", []Rule{limit.then(VerdictAccept), marks(0, 1)}, ""},
		{"another, in another chain", []Rule{{Verdict{VerdictJump, "other"}}}, "remarked"},
		{"perhaps in another chain", []Rule{limit.then(VerdictJump, "other")}, ""},
		{"another, and back", []Rule{marks(0, 1), marks(0, 0x57)}, ""},
		{"another, which is dropped", []Rule{marks(0xffff00ff, 0x100), marked(0x100, 0, 0x100).then(VerdictDrop)}, "dropped"},
		{"iptables' target", []Rule{{SetMark{Mask: all, Value: 1}}}, "remarked"},
		{"iptables' target beside it", []Rule{{SetMark{Mask: 0xf00, Value: 0x100}}}, ""},
		{"one that is not known", []Rule{{SetMark{}}}, ""},
		{"a rule that does not match", []Rule{append(marked(all, 0, 0), marks(0, 1)...)}, ""},
	} {
		r := ruleset(false, c.rules, map[string][]Rule{"other": {marks(0, 1)}})
		r.Chains[0].Hook = Output
		for routes, want := range map[bool]string{true: c.want, false: map[string]string{"dropped": "dropped"}[c.want]} {
			r.Chains[0].Routes, r.index = routes, nil
			got := ""
			d := r.Drops(Packet{Family: IPv4, Protocol: 17, DestPort: 51820, Mark: &Mark{0x57, 0xff}}, Output)
			switch {
			case d != nil && d.Remarked:
				got = "remarked"
			case d != nil:
				got = "dropped"
			}
			if got != want {
				t.Errorf("%s, routed again: %t: %q, want %q", c.name, routes, got, want)
			}
		}
	}
}

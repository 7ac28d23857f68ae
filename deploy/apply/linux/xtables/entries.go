package xtables

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/firewall"
)

// An entry is a struct ipt_entry or ip6t_entry: a rule, a policy, or the name of the chain
// that begins after it.
type entry struct {
	at, next int // its offset in the table, and that of the next entry
	rule     firewall.Rule
	to       int    // the offset of its jump; 0: it has none
	name     string // of the chain
}

var errTable = errors.New("a table of iptables that is not understood")

// A legacyChain is a chain with the offset of its first rule.
type legacyChain struct {
	firewall.Chain
	first   int
	entries []entry
}

func (l legacy) parse(table string, i *info, blob []byte) ([]firewall.Chain, error) {
	var entries []entry
	for at := 0; at < len(blob); {
		e, err := l.entry(at, blob[at:])
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
		at = e.next
	}
	chains := l.parted(table, i, entries)
	names := map[int]string{}
	for _, c := range chains {
		names[c.first] = c.Name
	}
	var out []firewall.Chain
	for _, c := range chains {
		for _, e := range c.entries {
			if v, ok := e.rule[len(e.rule)-1].(firewall.Verdict); ok && e.to != 0 {
				v.Chain = names[e.to]
				e.rule[len(e.rule)-1] = v
			}
			c.Rules = append(c.Rules, e.rule)
		}
		out = append(out, c.Chain)
	}
	return out, nil
}

// parted divides the entries into chains. A base chain begins at its hook's entry and ends
// with its policy, which is the entry at its underflow. A user-defined chain begins after
// the entry with its name.
func (l legacy) parted(table string, i *info, entries []entry) []legacyChain {
	var chains []legacyChain
	begin := func(name string, hook firewall.Hook, first int) {
		c := firewall.Chain{Family: l.family, Table: table, Name: name, Legacy: true, Hook: hook,
			Priority: legacyTables[table], NAT: table == nat, Routes: table == "mangle"}
		chains = append(chains, legacyChain{Chain: c, first: first})
	}
	for _, e := range entries {
		for hook := range builtin {
			if i.hooks&(1<<hook) != 0 && int(i.entry[hook]) == e.at {
				begin(builtin[hook], firewall.Hook(hook), e.at)
			}
		}
		if e.name != "" {
			begin(e.name, firewall.NoHook, e.next)
			continue
		}
		if len(chains) == 0 {
			continue
		}
		c := &chains[len(chains)-1]
		if c.Hook != firewall.NoHook && int(i.underflow[c.Hook]) == e.at {
			c.Drops = slices.ContainsFunc(e.rule,
				func(x firewall.Expr) bool { return x == firewall.Verdict{Code: firewall.VerdictDrop} })
			continue
		}
		c.entries = append(c.entries, e)
	}
	return chains
}

// entry parses an entry. After the header come nfcache, target_offset, next_offset,
// comefrom and two counters, which are aligned; then the matches and the target.
func (l legacy) entry(at int, b []byte) (e entry, err error) {
	first := (l.size+12+7)&^7 + 16
	if len(b) < first {
		return e, errTable
	}
	target, next := int(binary.NativeEndian.Uint16(b[l.size+4:])), int(binary.NativeEndian.Uint16(b[l.size+6:]))
	if target < first || next < target || next > len(b) {
		return e, errTable
	}
	e = entry{at: at, next: at + next, rule: l.header(b)}
	for m := b[first:target]; len(m) > 0; {
		x, err := extensionOf(m)
		if err != nil {
			return e, err
		}
		e.rule = append(e.rule, firewall.Match{Name: x.name, Revision: x.revision, Data: x.data})
		m = m[x.size:]
	}
	x, err := extensionOf(b[target:next])
	if err == nil {
		l.decide(&e, x, b[l.flags]&l.gotos != 0)
	}
	return e, err
}

// An extension is a struct xt_entry_match or xt_entry_target.
type extension struct {
	name           string
	size, revision int
	data           []byte
}

func extensionOf(b []byte) (x extension, err error) {
	if len(b) < 32 {
		return x, errTable
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < 32 || size > len(b) {
		return x, errTable
	}
	return extension{text(b[2:31]), size, int(b[31]), b[32:size]}, nil
}

// text returns what comes before the first zero byte.
func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

// decide adds the target to the rule. The standard target has no name but a verdict. If it
// is negative, it is -v-1 for a verdict v of the kernel; otherwise it is the offset to jump
// to.
func (l legacy) decide(e *entry, x extension, gotos bool) {
	v := int32(0)
	if len(x.data) >= 4 {
		v = int32(binary.NativeEndian.Uint32(x.data))
	}
	switch {
	case x.name == "ERROR":
		e.name = text(x.data)
	case x.name != "":
		e.rule = append(e.rule, Target(x.name, x.revision, x.data))
	case v == -5: // XT_RETURN
		e.rule = append(e.rule, firewall.Verdict{Code: firewall.VerdictReturn})
	case v < 0:
		e.rule = append(e.rule, firewall.Verdict{Code: -v - 1})
	case int(v) == e.next: // no target
		e.rule = append(e.rule, firewall.Verdict{Code: firewall.VerdictContinue})
	case gotos:
		e.to, e.rule = int(v), append(e.rule, firewall.Verdict{Code: firewall.VerdictGoto})
	default:
		e.to, e.rule = int(v), append(e.rule, firewall.Verdict{Code: firewall.VerdictJump})
	}
}

// header converts struct ipt_ip or ip6t_ip6 to expressions of nftables.
func (l legacy) header(b []byte) firewall.Rule {
	const (
		viaIn, viaOut, source, dest, fragment, proto = 0x01, 0x02, 0x08, 0x10, 0x20, 0x40 // IPT_INV_*
		ofFragments, ofProto                         = 1, 1                               // IPT_F_FRAG, IP6T_F_PROTO
		notEqual                                     = unix.NFT_CMP_NEQ
	)
	var rule firewall.Rule
	inverted := b[l.flags+1]
	compare := func(load firewall.Load, value, mask []byte, not byte) {
		if bytes.Count(mask, []byte{0}) == len(mask) {
			return // anything
		}
		load.Register = unix.NFT_REG_1
		op := uint32(unix.NFT_CMP_EQ)
		if inverted&not != 0 {
			op = notEqual
		}
		masked := make([]byte, len(value))
		for i := range value {
			masked[i] = value[i] & mask[i]
		}
		rule = append(rule, load, firewall.Bitwise{Source: unix.NFT_REG_1, Dest: unix.NFT_REG_1, Mask: mask},
			firewall.Cmp{Register: unix.NFT_REG_1, Op: op, Data: masked})
	}
	n, offset := l.address, map[firewall.Family]int{firewall.IPv4: 12, firewall.IPv6: 8}[l.family]
	compare(firewall.Load{From: firewall.Network, Offset: offset, Len: n}, b[:n], b[2*n:3*n], source)
	compare(firewall.Load{From: firewall.Network, Offset: offset + n, Len: n}, b[n:2*n], b[3*n:4*n], dest)
	links := b[4*n:]
	compare(firewall.Load{From: firewall.Meta, Key: unix.NFT_META_IIFNAME}, links[:16], links[32:48], viaIn)
	compare(firewall.Load{From: firewall.Meta, Key: unix.NFT_META_OIFNAME}, links[16:32], links[48:64], viaOut)
	p := binary.NativeEndian.Uint16(b[l.proto:])
	if p != 0 && (l.family == firewall.IPv4 || b[l.flags]&ofProto != 0) {
		compare(firewall.Load{From: firewall.Meta, Key: unix.NFT_META_L4PROTO}, []byte{byte(p)}, []byte{0xff}, proto)
	}
	if l.family == firewall.IPv4 && b[l.flags]&ofFragments != 0 || inverted&fragment != 0 {
		rule = append(rule, firewall.Other{Name: "fragment"})
	}
	return rule
}

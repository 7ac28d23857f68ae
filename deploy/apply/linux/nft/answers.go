package nft

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
)

// Where all routes lead into the tunnel, a packet that arrives on an uplink seems to come
// the wrong way. The reverse path check would drop it (fib_validate_source), even if it is
// an encrypted one, and the answer would be routed into the tunnel. So such a packet gets
// the tunnel's mark once its destination is known, and its answer gets it before it leaves.
//
// The only state in between is a label on forwarded connections (ct label in nft(8)). The
// marks of other programs, on packets and on connections, are not touched.

// afterDNAT is after destination NAT (-100) and before routing.
var afterDNAT = nftables.ChainPriorityRef(-90)

// directionReply is IP_CT_DIR_REPLY (linux/netfilter/nf_conntrack_tuple_common.h).
const directionReply = 1

// beforeAll is before the raw table (-300). Other programs, such as firewalld, check the
// reverse path soon after that, with the packet's mark (fib in nft(8); rpfilter --validmark
// in iptables-extensions(8)). Fragments are reassembled by then (-400).
var beforeAll = nftables.ChainPriorityRef(-310)

// addAnswers adds the chains for answers to packets from uplinks. Packets to this host are
// marked early. Those whose destination is translated later are examined again after that.
func (f *filter) addAnswers() {
	families := []struct {
		proto        byte
		ipv4         bool
		policyRouted bool
	}{{unix.NFPROTO_IPV4, true, f.IPv4}, {unix.NFPROTO_IPV6, false, f.IPv6}}

	unseen := func(name string, at *nftables.ChainPriority) *chain {
		c := f.chain(name, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, at)
		c.rule(thisLink(expr.MetaKeyIIFNAME, f.Link), accept())
		for _, family := range families {
			if !family.policyRouted {
				c.rule(nfproto(family.proto), accept())
			}
		}
		return c
	}
	early := unseen("early", beforeAll)
	early.rule(hasMark(f.Mark, expr.CmpOpNeq, 0), accept())
	early.rule(otherWay(f.Link, expr.Fib{FlagSADDR: true}), accept())
	early.rule(toLocal(), setMark(f.Mark))

	in := unseen("inbound", afterDNAT)
	in.rule(hasMark(f.Mark, expr.CmpOpNeq, 0, f.Mark.Value), accept())
	if f.Label {
		in.rule(reply(), hasLabel(), setMark(f.Mark), accept())
	}
	// What is reached by another interface than the tunnel's needs no mark.
	in.rule(otherWay(f.Link, expr.Fib{FlagSADDR: true}), accept())
	in.rule(toLocal(), setMark(f.Mark), accept())
	forwarded := slices.Concat(otherWay(f.Link, expr.Fib{FlagDADDR: true}), setMark(f.Mark))
	if f.Label {
		forwarded = append(forwarded, setLabel()...)
	}
	in.rule(forwarded, accept())
	// a translated destination leads into the tunnel after all
	in.rule(hasMark(f.Mark, expr.CmpOpEq, f.Mark.Value), setMark(apply.Mark{Mask: MaskOf(f.Mark)}))

	out := f.chain("answers", nftables.ChainTypeRoute, nftables.ChainHookOutput, nftables.ChainPriorityMangle)
	for _, family := range families {
		if family.policyRouted {
			out.rule(nfproto(family.proto), thisLink(expr.MetaKeyOIFNAME, f.Link), reply(), hasMark(f.Mark, expr.CmpOpEq, 0),
				f.notInside(family.ipv4, source(family.ipv4)), setMark(f.Mark))
		}
	}
}

// addGuard drops packets that arrive on an uplink for an INSIDE address (CVE-2019-14899).
// Those from bridges of containers and from other tunnels pass.
func (f *filter) addGuard() {
	chain := f.chain("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	for _, addr := range f.Guard {
		chain.rule(toPrefix(netip.PrefixFrom(addr, addr.BitLen())),
			otherLink(expr.MetaKeyIIFNAME, append([]string{f.Link}, f.Inner...)...),
			notLocal(), exprs(&expr.Verdict{Kind: expr.VerdictDrop}))
	}
}

// notInside matches if the address that load puts into register 1 is not an INSIDE address
// of this host.
func (f *filter) notInside(ipv4 bool, load []expr.Any) []expr.Any {
	match := load
	for _, addr := range f.Guard {
		if addr.Is4() == ipv4 {
			match = append(match, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: addr.AsSlice()})
		}
	}
	if len(match) == len(load) {
		return nil
	}
	return match
}

// source loads the source address of a packet into register 1 (RFC 791, RFC 8200).
func source(ipv4 bool) []expr.Any {
	if ipv4 {
		return exprs(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4})
	}
	return exprs(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 8, Len: 16})
}

// reply matches packets in the reply direction of their connection.
func reply() []expr.Any {
	return exprs(
		&expr.Ct{Register: 1, Key: expr.CtKeyDIRECTION},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{directionReply}},
	)
}

// label returns the bit that marks connections that came in by an uplink and were
// forwarded.
func label() []byte {
	bits := make([]byte, 16) // NF_CT_LABELS_MAX_SIZE
	bits[apply.Label/8] = 1 << (apply.Label % 8)
	return bits
}

func hasLabel() []expr.Any {
	return exprs(
		&expr.Ct{Register: 1, Key: expr.CtKeyLABELS},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 16, Mask: label(), Xor: make([]byte, 16)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 16)},
	)
}

// setLabel sets that bit and leaves the others (nft_ct_set_eval calls nf_connlabels_replace
// with the bits as the mask).
func setLabel() []expr.Any {
	return exprs(
		&expr.Immediate{Register: 1, Data: label()},
		&expr.Ct{Register: 1, Key: expr.CtKeyLABELS, SourceRegister: true},
	)
}

// CanLabel reports whether the kernel has connection labels (CONFIG_NF_CONNTRACK_LABELS). The
// chain has no hook, which would take the kernel longer than all the rest of a trial.
func CanLabel(link string) bool {
	f := &filter{Filter: &apply.Filter{}}
	f.chains = append(f.chains, &chain{Chain: &nftables.Chain{Name: "labels"}, rules: [][]expr.Any{setLabel()}})
	return trial(link, f)
}

// otherWay matches if the kernel, asked without the mark, routes an address of the packet
// to another interface than link. The interface has no index where there is no route, or
// where the address is this host's.
func otherWay(link string, by expr.Fib) []expr.Any {
	name, index := by, by
	name.Register, name.ResultOIFNAME = 1, true
	index.Register, index.ResultOIF = 1, true
	return exprs(
		&name, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: ifname(link)},
		&index, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: native32(0)},
	)
}

// toLocal matches packets to an address of this host.
func toLocal() []expr.Any {
	return exprs(
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: native32(unix.RTN_LOCAL)},
	)
}

func accept() []expr.Any { return exprs(&expr.Verdict{Kind: expr.VerdictAccept}) }

func nfproto(proto byte) []expr.Any {
	return exprs(
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
	)
}

// hasMark compares the bits of a packet's mark that m covers with each of values.
func hasMark(m apply.Mark, op expr.CmpOp, values ...uint32) []expr.Any {
	match := exprs(&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, masking(MaskOf(m), 0))
	for _, value := range values {
		match = append(match, &expr.Cmp{Op: op, Register: 1, Data: native32(value)})
	}
	return match
}

// setMark sets the bits of a packet's mark that m covers, and leaves the others.
func setMark(m apply.Mark) []expr.Any {
	return exprs(
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		masking(^MaskOf(m), m.Value),
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	)
}

// MaskOf returns the bits that m covers: its mask, or all 32 if it has none.
func MaskOf(m apply.Mark) uint32 {
	if m.Mask == 0 {
		return ^uint32(0)
	}
	return m.Mask
}

func masking(and, xor uint32) expr.Any {
	return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native32(and), Xor: native32(xor)}
}

func native32(n uint32) []byte { return binaryutil.NativeEndian.PutUint32(n) }

// thisLink matches packets that use link, as input or output interface according to key.
func thisLink(key expr.MetaKey, link string) []expr.Any {
	return exprs(
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ifname(link)},
	)
}

func ifname(link string) []byte {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, link)
	return name
}

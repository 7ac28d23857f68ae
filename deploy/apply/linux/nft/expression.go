package nft

import (
	"github.com/mdlayher/netlink/nlenc"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/firewall"
	"wgkeys/deploy/apply/linux/xtables"
)

// exprOf converts an nftables expression to package firewall.
func exprOf(name string, a nftAttributes) firewall.Expr {
	switch name {
	case "meta":
		if _, sets := a[unix.NFTA_META_SREG]; sets {
			if a.number(unix.NFTA_META_KEY) == unix.NFT_META_MARK {
				return firewall.SetMark{Register: a.number(unix.NFTA_META_SREG)}
			}
			return firewall.Statement{}
		}
		return firewall.Load{From: firewall.Meta, Key: a.number(unix.NFTA_META_KEY), Register: a.number(unix.NFTA_META_DREG)}
	case "ct":
		return connectionOf(a)
	case "payload":
		return payloadOf(a)
	case "immediate":
		if v, ok := a.verdict(unix.NFTA_IMMEDIATE_DATA); ok {
			return v
		}
		return firewall.Immediate{Register: a.number(unix.NFTA_IMMEDIATE_DREG), Data: a.value(unix.NFTA_IMMEDIATE_DATA)}
	case "bitwise":
		const operation = 6           // NFTA_BITWISE_OP
		if a.number(operation) != 0 { // a shift, or an operation on two registers
			break
		}
		return firewall.Bitwise{Source: a.number(unix.NFTA_BITWISE_SREG), Dest: a.number(unix.NFTA_BITWISE_DREG),
			Mask: a.value(unix.NFTA_BITWISE_MASK), Xor: a.value(unix.NFTA_BITWISE_XOR)}
	case "cmp":
		return firewall.Cmp{Register: a.number(unix.NFTA_CMP_SREG), Op: a.number(unix.NFTA_CMP_OP),
			Data: a.value(unix.NFTA_CMP_DATA)}
	case "range":
		return firewall.Range{Register: a.number(unix.NFTA_RANGE_SREG), Not: a.number(unix.NFTA_RANGE_OP) != 0,
			From: a.value(unix.NFTA_RANGE_FROM_DATA), To: a.value(unix.NFTA_RANGE_TO_DATA)}
	case "lookup":
		_, maps := a[unix.NFTA_LOOKUP_DREG]
		return firewall.Lookup{Register: a.number(unix.NFTA_LOOKUP_SREG), Set: nlenc.String(a[unix.NFTA_LOOKUP_SET]),
			Not: a.number(unix.NFTA_LOOKUP_FLAGS)&unix.NFT_LOOKUP_F_INV != 0,
			Map: maps, Dest: a.number(unix.NFTA_LOOKUP_DREG)} // 0 is NFT_REG_VERDICT
	case "fib":
		return fibOf(a)
	}
	return statementOf(name, a)
}

// connectionOf loads something of the packet's connection, or changes it.
func connectionOf(a nftAttributes) firewall.Expr {
	if _, sets := a[unix.NFTA_CT_SREG]; !sets {
		return firewall.Load{From: firewall.Conntrack, Key: a.number(unix.NFTA_CT_KEY), Register: a.number(unix.NFTA_CT_DREG)}
	}
	if a.number(unix.NFTA_CT_KEY) == unix.NFT_CT_MARK {
		return firewall.ConnMark{Register: a.number(unix.NFTA_CT_SREG)}
	}
	return firewall.Statement{}
}

// fibOf knows only one kind of lookup: the type of the destination address.
func fibOf(a nftAttributes) firewall.Expr {
	if a.number(unix.NFTA_FIB_RESULT) == unix.NFT_FIB_RESULT_ADDRTYPE &&
		a.number(unix.NFTA_FIB_FLAGS) == unix.NFTA_FIB_F_DADDR {
		return firewall.Load{From: firewall.FIB, Register: a.number(unix.NFTA_FIB_DREG)}
	}
	return firewall.Other{Name: "fib"}
}

func payloadOf(a nftAttributes) firewall.Expr {
	if _, writes := a[unix.NFTA_PAYLOAD_SREG]; writes {
		return firewall.Other{Name: "payload"} // later expressions may read changed bytes
	}
	l := firewall.Load{Offset: int(a.number(unix.NFTA_PAYLOAD_OFFSET)), Len: int(a.number(unix.NFTA_PAYLOAD_LEN)),
		Register: a.number(unix.NFTA_PAYLOAD_DREG)}
	switch a.number(unix.NFTA_PAYLOAD_BASE) {
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		l.From = firewall.Network
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		l.From = firewall.Transport
	}
	return l
}

// statementOf converts an expression that decides, or that changes nothing which is
// decided.
func statementOf(name string, a nftAttributes) firewall.Expr {
	switch name {
	case "counter", "log", "last", "flow_offload":
		return firewall.Statement{}
	case "objref":
		if a.number(unix.NFTA_OBJREF_IMM_TYPE) == unix.NFT_OBJECT_COUNTER {
			return firewall.Statement{}
		}
	case "notrack":
		return firewall.Untrack{}
	case "reject":
		return firewall.Verdict{Code: firewall.VerdictDrop}
	case "queue", "tproxy", "synproxy":
		return firewall.Verdict{Code: firewall.VerdictUnknown}
	case "masq":
		return firewall.Verdict{Code: firewall.VerdictAccept}
	case "nat", "redir":
		return translationOf(name, a)
	case "match":
		return xtables.Match(nlenc.String(a[unix.NFTA_MATCH_NAME]), int(a.number(unix.NFTA_MATCH_REV)),
			a[unix.NFTA_MATCH_INFO])
	case "target":
		return xtables.Target(nlenc.String(a[unix.NFTA_TARGET_NAME]), int(a.number(unix.NFTA_TARGET_REV)),
			a[unix.NFTA_TARGET_INFO])
	}
	return firewall.Other{Name: name}
}

// translationOf converts the translation of a destination. The translation of a source only
// accepts the packet.
func translationOf(name string, a nftAttributes) firewall.Expr {
	const plain = unix.NF_NAT_RANGE_MAP_IPS | unix.NF_NAT_RANGE_PROTO_SPECIFIED | unix.NF_NAT_RANGE_PERSISTENT
	if name == "redir" {
		return firewall.Translation{PortRegister: a.number(unix.NFTA_REDIR_REG_PROTO_MIN),
			LastRegister: a.number(unix.NFTA_REDIR_REG_PROTO_MAX), Unknown: a.number(unix.NFTA_REDIR_FLAGS)&^plain != 0}
	}
	if a.number(unix.NFTA_NAT_TYPE) == unix.NFT_NAT_SNAT {
		return firewall.Verdict{Code: firewall.VerdictAccept}
	}
	t := firewall.Translation{AddrRegister: a.number(unix.NFTA_NAT_REG_ADDR_MIN),
		PortRegister: a.number(unix.NFTA_NAT_REG_PROTO_MIN), LastRegister: a.number(unix.NFTA_NAT_REG_PROTO_MAX)}
	t.Unknown = a.number(unix.NFTA_NAT_REG_ADDR_MAX) != t.AddrRegister || a.number(unix.NFTA_NAT_FLAGS)&^plain != 0
	return t
}

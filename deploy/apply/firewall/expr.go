package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// An Expr is one expression of a rule.
type Expr any

// What a Load takes.
const (
	Meta      = "meta"      // Key is NFT_META_*
	Conntrack = "ct"        // Key is NFT_CT_*
	Network   = "network"   // Len bytes at Offset of the network header
	Transport = "transport" // likewise
	FIB       = "fib"       // the type of the destination address (RTN_*)
)

// A Load puts something of the packet into a register.
type Load struct {
	From        string // "": what nobody knows
	Key         uint32
	Offset, Len int
	Register    uint32
}

// An Immediate puts data into a register.
type Immediate struct {
	Register uint32
	Data     []byte
}

// A Bitwise masks what is in a register.
type Bitwise struct {
	Source, Dest uint32
	Mask, Xor    []byte
}

// A Cmp compares what is in a register with data (NFT_CMP_*).
type Cmp struct {
	Register uint32
	Op       uint32
	Data     []byte
}

// A Range compares it with two (NFT_RANGE_*).
type Range struct {
	Register uint32
	Not      bool
	From, To []byte
}

// A Lookup looks for it in a set, which may map it to data or to a verdict.
type Lookup struct {
	Register uint32
	Set      string
	Not      bool
	Map      bool
	Dest     uint32 // of data; 0: a verdict
}

// The verdicts (NF_DROP, NF_ACCEPT, NFT_*).
const (
	VerdictDrop     int32 = 0
	VerdictAccept   int32 = 1
	VerdictContinue int32 = -1
	verdictBreak    int32 = -2
	VerdictJump     int32 = -3
	VerdictGoto     int32 = -4
	VerdictReturn   int32 = -5
	VerdictUnknown  int32 = 3 // NF_QUEUE, which a program decides
	verdictMoved    int32 = -100
)

// A Verdict decides.
type Verdict struct {
	Code  int32
	Chain string
}

// A Match is one of iptables' matches, with its own data (struct xt_entry_match).
type Match struct {
	Name     string
	Revision int
	Data     []byte
}

// A Target is one of iptables' targets.
type Target struct{ Name string }

// A Translation has packets go to another destination. What it does not give stays,
// and those of a redirect are for this host.
type Translation struct {
	Addr     netip.Addr // the zero Addr: none is given
	Port     int        // 0: none is given
	LastPort int        // of several
	Unknown  bool       // what it gives is not known

	// The registers that give it in nftables; 0: none.
	AddrRegister, PortRegister, LastRegister uint32
}

// An Untrack keeps connection tracking from the packet.
type Untrack struct{}

// A Statement changes nothing of what becomes of the packet: a counter, a log.
type Statement struct{}

// An Other asks for something that is not known here.
type Other struct{ Name string }

// rule reports whether the packet matches, and what is decided then.
func (w *walk) rule(c *Chain, rule Rule) (truth, []Verdict) {
	matches := yes
	var regs registers
	var verdicts []Verdict
	for _, e := range rule {
		t := yes
		switch e := e.(type) {
		case Load:
			regs.put(e.Register, w.load(e))
		case Immediate:
			regs.put(e.Register, exactly(e.Data))
		case Bitwise:
			regs.put(e.Dest, regs.get(e.Source, len(e.Mask)).masked(e.Mask, e.Xor))
		case Cmp:
			t = regs.get(e.Register, len(e.Data)).compare(e.Op, e.Data)
		case Range:
			t = regs.get(e.Register, len(e.From)).within(e.From, e.To)
			if e.Not {
				t = t.not()
			}
		case Lookup:
			var found []Verdict
			t, found = w.lookup(c, e, &regs)
			verdicts = append(verdicts, found...)
		case Match:
			t = w.match(e)
		case SetMark, ConnMark:
			w.changeMarks(e, matches, &regs)
		case Verdict, Target, Translation:
			verdicts = append(verdicts, w.decide(e, &regs))
		case Statement, Untrack:
		default:
			t, regs = maybe, registers{}
		}
		if matches = min(matches, t); matches == no {
			return no, nil
		}
	}
	if verdicts == nil {
		verdicts = []Verdict{{Code: VerdictContinue}}
	}
	return matches, verdicts
}

func (w *walk) decide(e Expr, regs *registers) Verdict {
	switch e := e.(type) {
	case Target:
		return targetOf(e)
	case Translation:
		return w.translate(e, regs)
	}
	return e.(Verdict)
}

// targetOf is what a target of iptables decides.
func targetOf(t Target) Verdict {
	switch t.Name {
	case "REJECT":
		return Verdict{Code: VerdictDrop}
	case "SNAT", "MASQUERADE":
		return Verdict{Code: VerdictAccept}
	case "LOG", "NFLOG", "ULOG", "TRACE", "TCPMSS", "AUDIT", "CT", "CLASSIFY", "DSCP", "TOS", "TTL",
		"HL", "SET":
		return Verdict{Code: VerdictContinue}
	}
	return Verdict{Code: VerdictUnknown}
}

// translate is what becomes of a packet that is to have another destination. Only
// of one that is for this host it is known where it should come: to its own port.
// Once a packet's destination is settled no other chain looks (nf_nat_inet_fn).
func (w *walk) translate(t Translation, regs *registers) Verdict {
	if w.hook != Prerouting {
		return Verdict{Code: VerdictAccept}
	}
	if !w.packet.Local || w.packet.DestPort == 0 {
		return Verdict{Code: VerdictUnknown}
	}
	t = t.resolved(w.packet.Family, regs)
	settled := w.translated
	w.translated = true
	if t.Unknown || settled {
		return Verdict{Code: VerdictUnknown}
	}
	port := w.packet.DestPort
	keepsPort := t.Port == 0 || t.Port <= port && port <= t.LastPort
	keepsHost := !t.Addr.IsValid() || t.Addr.IsLoopback() || slices.Contains(w.rules.Local, t.Addr)
	switch {
	case keepsPort && t.Port != t.LastPort:
		return Verdict{Code: VerdictUnknown} // one of several ports
	case keepsPort && keepsHost:
		return Verdict{Code: VerdictAccept}
	}
	return Verdict{Code: verdictMoved}
}

// resolved has what the registers give.
func (t Translation) resolved(family Family, regs *registers) Translation {
	if t.AddrRegister != 0 {
		n := 4
		if family == IPv6 {
			n = 16
		}
		b := regs.get(t.AddrRegister, n)
		t.Addr, _ = netip.AddrFromSlice(b.value)
		t.Unknown = t.Unknown || !b.certain()
	}
	port := func(register uint32) int {
		b := regs.get(register, 2)
		t.Unknown = t.Unknown || !b.certain()
		return int(binary.BigEndian.Uint16(b.value))
	}
	if t.PortRegister != 0 {
		t.Port = port(t.PortRegister)
		t.LastPort = t.Port
	}
	if t.LastRegister != 0 {
		t.LastPort = port(t.LastRegister)
	}
	return t
}

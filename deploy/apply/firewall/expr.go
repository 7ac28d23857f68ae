package firewall

// An Expr is one expression of a rule.
type Expr any

// What a Load takes.
const (
	Meta      = "meta"      // Key is NFT_META_*
	Conntrack = "ct"        // Key is NFT_CT_*
	Network   = "network"   // Len bytes at Offset of the network header
	Transport = "transport" // likewise
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

// An Untrack keeps connection tracking from the packet.
type Untrack struct{}

// A Statement changes nothing of what becomes of the packet: a counter, a log.
type Statement struct{}

// An Other asks for something that is not known here.
type Other struct{ Name string }

// A truth is whether a packet of which not all is known matches.
type truth byte

const (
	no truth = iota
	maybe
	yes
)

func of(b bool) truth {
	if b {
		return yes
	}
	return no
}

func (t truth) not() truth { return yes - t }

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
		case Verdict:
			verdicts = append(verdicts, e)
		case Match:
			t = w.match(e)
		case Target:
			verdicts = append(verdicts, targetOf(e))
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

// targetOf is what a target of iptables decides.
func targetOf(t Target) Verdict {
	switch t.Name {
	case "REJECT":
		return Verdict{Code: VerdictDrop}
	case "LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "TRACE", "TCPMSS", "AUDIT", "CT", "CLASSIFY", "DSCP", "TOS", "TTL",
		"HL", "SET":
		return Verdict{Code: VerdictContinue}
	}
	return Verdict{Code: VerdictUnknown}
}

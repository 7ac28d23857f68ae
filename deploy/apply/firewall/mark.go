package firewall

import "encoding/binary"

// A SetMark gives the packet another mark: what is in a register, or Value in the place
// of the bits of Mask. Without any of these it is not known which.
type SetMark struct {
	Register    uint32
	Mask, Value uint32
}

func word(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// firstMark is the packet's mark when it comes to its first chain.
func (p Packet) firstMark() bits {
	if p.Mark == nil {
		return unknown(4)
	}
	return exactly(word(p.Mark.Value))
}

// setMark has the packet go on with another mark, where the rule matches for certain. Else
// only what both marks share is known.
func (w *walk) setMark(s SetMark, matches truth, regs *registers) {
	var next bits
	switch {
	case s.Register != 0:
		next = regs.get(s.Register, 4)
	case s.Mask != 0:
		next = w.mark.masked(word(^s.Mask), word(s.Value))
	default:
		next = unknown(4)
	}
	w.mark = w.certainly(matches, next, w.mark)
	clear(w.known)
}

// shared is what b and c have in common.
func (b bits) shared(c bits) bits {
	out := unknown(len(b.value))
	for i := range out.value {
		out.value[i] = b.value[i]
		out.known[i] = b.known[i] & c.known[i] &^ (b.value[i] ^ c.value[i])
	}
	return out
}

// A ConnMark copies between the packet's mark and that of its connection, as the target
// CONNMARK of iptables: (mark &^ clear) ^ (other & keep).
type ConnMark struct {
	Restore     bool   // from the connection to the packet
	Register    uint32 // not 0: to the connection, what is in a register
	Clear, Keep uint32
	Value       uint32 // what the connection gets beside
	Unknown     bool   // it does either, and it is not known which
}

// firstConnMark is the mark of the packet's connection: nobody has marked one that begins,
// unless it came in.
func (r *Ruleset) firstConnMark(p Packet) bits {
	if p.Answer && r.indexed().connMarks {
		return unknown(4)
	}
	return exactly(word(0))
}

// changeMarks does what an expression says of the mark of the packet or of its connection.
func (w *walk) changeMarks(e Expr, matches truth, regs *registers) {
	c, ok := e.(ConnMark)
	switch {
	case !ok:
		w.setMark(e.(SetMark), matches, regs)
	case c.Unknown:
		w.setMark(SetMark{}, matches, regs)
		w.connMark = unknown(4)
	case c.Restore:
		w.mark = w.certainly(matches, merged(w.mark, c.Clear, w.ofConnection(), c.Keep, 0), w.mark)
	case c.Register != 0:
		w.connMark = w.certainly(matches, regs.get(c.Register, 4), w.connMark)
	default:
		w.connMark = w.certainly(matches, merged(w.connMark, c.Clear, w.mark, c.Keep, c.Value), w.connMark)
	}
	clear(w.known)
}

// certainly is next where the rule matches for certain, and else what it shares with now.
func (w *walk) certainly(matches truth, next, now bits) bits {
	if matches != yes || !w.certain {
		return next.shared(now)
	}
	return next
}

// ofConnection is the mark of the connection, if that is known by now.
func (s *packetState) ofConnection() bits {
	if !s.tracked {
		return unknown(4)
	}
	return s.connMark
}

// merged is (a &^ clear) ^ (b & keep) ^ value.
func merged(a bits, clear uint32, b bits, keep, value uint32) bits {
	a, b = a.masked(word(^clear), word(value)), b.masked(word(keep), nil)
	out := unknown(len(a.value))
	for i := range out.value {
		out.value[i] = a.value[i] ^ b.value[i]
		out.known[i] = a.known[i] & b.known[i]
	}
	return out
}

// remarked returns the base chain that has given the packet a mark by which it is routed
// another way than it was meant to be, or nil.
func (w *walk) remarked(c *Chain) *Drop {
	m := w.packet.Mark
	if m == nil || m.Mask == 0 || w.hook != Output || !c.Routes {
		return nil
	}
	if w.mark.masked(word(m.Mask), nil).equals(word(m.Value&m.Mask)) != no {
		return nil
	}
	return &Drop{Chain: c, Remarked: true}
}

// hasMark is xt_mark_mtinfo1: a mark, a mask, and whether it is to be another.
func (s *packetState) hasMark(m Match) truth {
	d := m.Data
	if m.Name != "mark" || m.Revision != 1 || len(d) < 9 {
		return maybe
	}
	t := s.mark.masked(d[4:8], nil).equals(d[:4])
	if d[8] != 0 {
		t = t.not()
	}
	return t
}

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
	if matches != yes || !w.certain {
		next = next.shared(w.mark)
	}
	w.mark = next
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
func (w *walk) hasMark(m Match) truth {
	d := m.Data
	if m.Name != "mark" || m.Revision != 1 || len(d) < 9 {
		return maybe
	}
	t := w.mark.masked(d[4:8], nil).equals(d[:4])
	if d[8] != 0 {
		t = t.not()
	}
	return t
}

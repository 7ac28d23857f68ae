package apply

import "fmt"

// A Mark is a packet mark and the bits of it that count (ip-rule(8), fwmark
// FWMARK[/MASK]): the others are left to whoever else marks packets.
type Mark struct {
	Value uint32
	Mask  uint32 // 0: all bits
}

// masked is a mark that the tunnel file chose: the bytes that it is in count.
func masked(value uint32) Mark {
	m := Mark{Value: value}
	for part := uint32(0xff); part != 0; part <<= 8 {
		if value&part != 0 {
			m.Mask |= part
		}
	}
	if m.Mask == ^uint32(0) {
		m.Mask = 0
	}
	return m
}

// In reports whether packets of this value carry the mark.
func (m Mark) In(value uint32) bool { return m.Value != 0 && value&m.mask() == m.Value&m.mask() }

func (m Mark) mask() uint32 {
	if m.Mask == 0 {
		return ^uint32(0)
	}
	return m.Mask
}

func (m Mark) String() string {
	if m.mask() == ^uint32(0) {
		return fmt.Sprintf("%#x", m.Value)
	}
	return fmt.Sprintf("%#x/%#x", m.Value, m.Mask)
}

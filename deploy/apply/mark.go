package apply

import (
	"fmt"
	"slices"
)

// A Mark is a packet mark and the bits of it that count (ip-rule(8), fwmark
// FWMARK[/MASK]): the others are left to whoever else marks packets.
type Mark struct {
	Value uint32
	Mask  uint32 // 0: all bits
}

// The marks that a tunnel chooses from are in the low byte. Above it Kubernetes has
// 0x8000 and 0x4000, the portmap plugin 0x2000, mwan3 0x3f00, Cilium 0x0f00 and the
// upper half, Tailscale 0xff0000, Calico 0xffff0000 by default. They are no number
// that people write by hand (1, 2, 0x10, 100, 255), and lack the bit 0x80 that the
// CNI plugin of AWS has.
const (
	firstMark, lastMark = 0x57, 0x5f
	chosenMask          = 0xff
)

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

// chooseMark is the view's, the one chosen at an earlier apply, or the first that
// no rule of the host takes for its own.
func chooseMark(p *planner) Mark {
	if p.view.FwMark != 0 {
		return masked(p.view.FwMark)
	}
	for _, r := range p.state.Rules {
		m := r.NotMark
		if p.isMine(RuleChange{Rule: r}.Resource()) && m.Mask == chosenMask && m.Value >= firstMark && m.Value <= lastMark {
			return m
		}
	}
	for value := uint32(firstMark); value < lastMark; value++ {
		if !takenMark(p, value) {
			return Mark{value, chosenMask}
		}
	}
	return Mark{lastMark, chosenMask}
}

func takenMark(p *planner, value uint32) bool {
	return slices.ContainsFunc(p.state.TakenMarks, func(m Mark) bool { return m.In(value) && !isMyMark(p, m) })
}

// isMyMark reports whether a rule of ours looks for the mark: one may be left of a
// crash.
func isMyMark(p *planner, m Mark) bool {
	return slices.ContainsFunc(p.state.Rules, func(r Rule) bool {
		return (r.Mark == m || r.NotMark == m) && p.isMine(RuleChange{Rule: r}.Resource())
	})
}

// chooseTable is the one that our rules look into already, or the first that no
// rule of the host looks into.
func chooseTable(p *planner) int {
	taken := map[int]bool{}
	for _, r := range p.state.Rules {
		if r.NotMark.Value != 0 && r.Table != 0 && p.isMine(RuleChange{Rule: r}.Resource()) {
			return r.Table
		}
	}
	for _, table := range p.state.TakenTables {
		taken[table] = true
	}
	table := firstTable
	for taken[table] {
		table++
	}
	return table
}

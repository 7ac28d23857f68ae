package apply

import (
	"fmt"
)

// A Rule is a policy routing rule, of the kinds that a captured route needs.
type Rule struct {
	IPv6     bool
	Priority int
	NotMark  uint32 // not fwmark NotMark; 0: every packet
	Mark     uint32 // fwmark Mark; 0: every packet
	Table    int    // lookup; 0: main
	Suppress bool   // suppress_prefixlength 0: no default route of Table
}

// A RuleChange adds or removes a rule.
type RuleChange struct {
	Rule Rule
	Add  bool
}

func (c RuleChange) Resource() string  { return "rule " + c.Rule.String() }
func (c RuleChange) Inverse() []Change { c.Add = !c.Add; return []Change{c} }
func (c RuleChange) String() string {
	family := "-4"
	if c.Rule.IPv6 {
		family = "-6"
	}
	return "ip " + family + " rule " + verb(c.Add) + " " + c.Rule.selector()
}

func (r Rule) selector() string {
	s := fmt.Sprintf("priority %d", r.Priority)
	if r.NotMark != 0 {
		s += fmt.Sprintf(" not fwmark %#x", r.NotMark)
	}
	if r.Mark != 0 {
		s += fmt.Sprintf(" fwmark %#x", r.Mark)
	}
	if r.Table == 0 {
		s += " table main"
	} else {
		s += fmt.Sprintf(" table %d", r.Table)
	}
	if r.Suppress {
		s += " suppress_prefixlength 0"
	}
	return s
}

func (r Rule) String() string {
	if r.IPv6 {
		return "-6 " + r.selector()
	}
	return "-4 " + r.selector()
}

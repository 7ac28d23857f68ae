package apply

import (
	"fmt"
	"net/netip"

	"wgkeys/deploy/apply/journal"
)

// A Rule is a policy routing rule, of the kinds that policy routing needs.
type Rule struct {
	IPv6     bool
	Priority int
	NotMark  Mark // not fwmark NotMark; zero: every packet
	Mark     Mark // fwmark Mark; zero: every packet
	Table    int  // lookup; 0: main
	AtLeast  int  // only routes of Table that are at least so long; 0: all

	Refuses netip.Prefix // what goes there is unreachable, instead of a look into Table
}

// A RuleChange adds or removes a rule.
type RuleChange struct {
	Rule Rule
	Add  bool
}

func (c RuleChange) Resource() journal.Resource { return journal.Rule.Of(c.Rule.String()) }
func (c RuleChange) Inverse() []Change          { c.Add = !c.Add; return []Change{c} }
func (c RuleChange) String() string {
	family := "-4"
	if c.Rule.IPv6 {
		family = "-6"
	}
	return "ip " + family + " rule " + verb(c.Add) + " " + c.Rule.selector()
}

func (r Rule) selector() string {
	s := fmt.Sprintf("priority %d", r.Priority)
	if r.NotMark.Value != 0 {
		s += " not fwmark " + r.NotMark.String()
	}
	if r.Mark.Value != 0 {
		s += " fwmark " + r.Mark.String()
	}
	switch {
	case r.Refuses.IsValid():
		return s + " to " + r.Refuses.String() + " unreachable"
	case r.Table == 0:
		s += " table main"
	default:
		s += fmt.Sprintf(" table %d", r.Table)
	}
	if r.AtLeast > 0 {
		s += fmt.Sprintf(" suppress_prefixlength %d", r.AtLeast-1)
	}
	return s
}

func (r Rule) String() string {
	if r.IPv6 {
		return "-6 " + r.selector()
	}
	return "-4 " + r.selector()
}

func (c RuleChange) entries(_ journal.Entries) []line {
	if c.Add {
		return made(c)
	}
	return nil
}

func (c RuleChange) restores(_ journal.Entry, _ journal.Entries) bool {
	return len(c.entries(nil)) == 0
}
func (RuleChange) trusted() bool       { return false }
func (RuleChange) traits() traits      { return traits{batched: true, steers: true} }
func (RuleChange) TouchesKernel() bool { return true }

package linux

import (
	"errors"
	"slices"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/rule"
)

// passPriority is just before the rules of a plan for packets of two marks (priority
// 32600).
const passPriority = 32599

// PassMarks makes packets with the marks that the rules of was match use the main table. The
// firewall of another program may give such a mark to packets that arrive, as wg-quick(8)
// restores the mark of a connection: without a rule for the mark, the reverse path is through
// the tunnel, and where rp_filter is strict the kernel drops the packet (fib_validate_source
// in net/ipv4/fib_frontend.c).
func PassMarks(was *apply.Adopted) error { return setRules(passRules(was)) }

// EndPassMarks removes the rules that [PassMarks] added.
func EndPassMarks(was *apply.Adopted) error {
	changes := passRules(was)
	for i := range changes {
		changes[i].Add = false
	}
	return setRules(changes)
}

// passRules are the additions of a rule for each mark.
func passRules(was *apply.Adopted) (changes []apply.RuleChange) {
	for _, r := range was.Rules {
		pass := apply.RuleChange{Add: true,
			Rule: apply.Rule{IPv6: r.IPv6, Priority: passPriority, Mark: r.NotMark}}
		if r.NotMark.Value != 0 && !slices.Contains(changes, pass) {
			changes = append(changes, pass)
		}
	}
	return changes
}

func setRules(changes []apply.RuleChange) error {
	var errs []error
	for _, c := range changes {
		errs = append(errs, rule.Set(c))
	}
	return errors.Join(errs...)
}

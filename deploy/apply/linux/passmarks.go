package linux

import (
	"errors"
	"slices"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/rule"
)

// passPriority is before the rules by which a plan lets packets of two marks pass.
const passPriority = 32599

// PassMarks has packets with a mark that rules of was look at go by the main table, or
// ends that. The firewall of another program may give such a mark to what comes in, as
// wg-quick(8) has the mark of a connection restored: without a rule for it the way back
// is through the tunnel, and where rp_filter is strict the kernel drops the packet
// (fib_validate_source in net/ipv4/fib_frontend.c).
func PassMarks(was *apply.Adopted, on bool) error {
	var pass []apply.Rule
	var errs []error
	for _, r := range was.Rules {
		through := apply.Rule{IPv6: r.IPv6, Priority: passPriority, Mark: r.NotMark}
		if r.NotMark.Value == 0 || slices.Contains(pass, through) {
			continue
		}
		pass = append(pass, through)
		errs = append(errs, rule.Set(apply.RuleChange{Rule: through, Add: on}))
	}
	return errors.Join(errs...)
}

package rotate

import "context"

// A Look is a tunnel of a host to be looked at.
type Look struct {
	Tunnel  string
	KeyFile string // of the host's private key
	View    []byte // the view that an apply would have
}

// LookAndPlan asks the host at once for the state of several of its tunnels, and for what
// an apply of their views would do. There is an answer, or an error, for each. An older
// host does not answer the second question, and is asked for each tunnel separately.
func (p Participant) LookAndPlan(ctx context.Context, looks []Look) (answers []Answer, errs []error) {
	q, left := Request{}, maxView
	for i, l := range looks {
		ask := Request{Do: DoLook, Tunnel: l.Tunnel, KeyFile: l.KeyFile}
		if left -= len(l.View); left >= 0 {
			ask.View = l.View
		}
		if i == 0 {
			q = ask
		} else {
			q.Also = append(q.Also, ask)
		}
	}
	first, lost := p.ask(ctx, q)
	answers, errs = append(answers, first), append(errs, lost)
	for i, also := range q.Also {
		var a Answer
		var err error
		switch {
		case i < len(first.Also):
			a = first.Also[i]
			err = p.refused(a)
		case lost != nil && first.Protocol == 0: // it has given no answer at all
			err = lost
		default:
			a, err = p.ask(ctx, also)
		}
		answers, errs = append(answers, a), append(errs, err)
	}
	return answers, errs
}

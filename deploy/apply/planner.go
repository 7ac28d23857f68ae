package apply

import (
	"fmt"
	"slices"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// A planner is what all topics of a plan are made from, and collects its steps. What is
// given to it nobody changes; what one topic alone has to remember is in a type of its own.
type planner struct {
	view          *tunnel.View // with the keys in use
	rotated       rotated
	state         *State
	mine          *journal.Journal
	others        journal.Entries
	policyRouting policyRouting // what the view needs of it

	plan *Plan
	err  error // what cannot be planned
}

func (p *planner) step(c Change, why string, args ...any) {
	p.plan.Steps = append(p.plan.Steps, Step{c, fmt.Sprintf(why, args...)})
}

func (p *planner) note(format string, args ...any) {
	p.plan.Notes = append(p.plan.Notes, fmt.Sprintf(format, args...))
}

func (p *planner) find(format string, args ...any) {
	p.plan.Findings = append(p.plan.Findings, fmt.Sprintf(format, args...))
}

// isMine reports whether the journal says that we made the thing.
func (p *planner) isMine(resource journal.Resource) bool { return p.mine.Entries.Has(resource) }

// linkIsMine reports whether the link of the tunnel's name is the one that we
// made: somebody may have removed ours and made another.
func (p *planner) linkIsMine() bool {
	if !p.isMine(journal.Link.Of(p.view.Tunnel)) || p.state.Link.Kind != "wireguard" && p.state.Link.Kind != "tun" {
		return false
	}
	number := p.mine.LinkNumber(p.view.Tunnel)
	return number == 0 || number == p.state.LinkIndex
}

// uplinks are the interfaces with a default route, but for the tunnel itself.
func (p *planner) uplinks() []Uplink {
	return slices.DeleteFunc(slices.Clone(p.state.Uplinks), func(u Uplink) bool {
		return u.Name == p.view.Tunnel
	})
}

package remote

import (
	"errors"

	"wgkeys/deploy/apply"
	"wgkeys/keyring/fault"
)

// RefusedBy is what a plan refused, as a finding: of a tunnel that is up that is no
// lack of an answer. It is "" for other errors.
func RefusedBy(err error) string {
	if !errors.As(err, new(*apply.Refusal)) {
		return ""
	}
	return fault.OneLine(err)
}

// A Planned is a plan for programs.
type Planned struct {
	Tunnel   string        `json:"tunnel"`
	Host     string        `json:"host,omitempty"`
	Steps    []PlannedStep `json:"steps"`
	Notes    []string      `json:"notes,omitempty"`
	Findings []string      `json:"findings,omitempty"` // what no step can mend
	Refused  string        `json:"refused,omitempty"`  // why there is no plan
}

// A PlannedStep is one of its steps.
type PlannedStep struct {
	Step string `json:"step"`
	Why  string `json:"why"`
}

// PlanJSON is a plan for programs.
func PlanJSON(p *apply.Plan) Planned {
	out := Planned{Tunnel: p.Tunnel, Host: p.Host, Steps: []PlannedStep{}, Notes: p.Notes, Findings: p.Findings}
	for _, s := range p.Steps {
		out.Steps = append(out.Steps, PlannedStep{s.Change.String(), s.Why})
	}
	return out
}

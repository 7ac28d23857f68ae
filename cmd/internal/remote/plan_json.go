package remote

import (
	"errors"

	"wgkeys/deploy/apply"
	"wgkeys/keyring/fault"
)

// RefusedBy returns the reason of a plan that was refused, as a finding: the host has
// answered. It is "" for other errors.
func RefusedBy(err error) string {
	if !errors.As(err, new(*apply.Refusal)) {
		return ""
	}
	return fault.OneLine(err)
}

// A Planned is a plan in the JSON output.
type Planned struct {
	Tunnel   string        `json:"tunnel"`
	Host     string        `json:"host,omitempty"`
	Steps    []PlannedStep `json:"steps"`
	Notes    []string      `json:"notes,omitempty"`
	Findings []string      `json:"findings,omitempty"` // what no step can repair
	Refused  string        `json:"refused,omitempty"`  // why there is no plan
}

// A PlannedStep is one of its steps.
type PlannedStep struct {
	Step string `json:"step"`
	Why  string `json:"why"`
}

// PlanJSON converts a plan for the JSON output.
func PlanJSON(p *apply.Plan) Planned {
	out := Planned{Tunnel: p.Tunnel, Host: p.Host, Steps: []PlannedStep{}, Notes: p.Notes, Findings: p.Findings}
	for _, s := range p.Steps {
		out.Steps = append(out.Steps, PlannedStep{s.Change.String(), s.Why})
	}
	return out
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/apply"
	"wgkeys/keyring/fault"
)

// refusedBy is what a plan refused, as a finding: of a tunnel that is up that is no
// lack of an answer. It is "" for other errors.
func refusedBy(err error) string {
	if !errors.As(err, new(*apply.Refusal)) {
		return ""
	}
	return inOneLine(err)
}

// inOneLine is an error as a finding, with what to run.
func inOneLine(err error) string {
	text := strings.Join(ui.Lines(err), "; ")
	if hints := fault.Hints(err); len(hints) > 0 {
		text += ": " + strings.Join(hints, "; ")
	}
	return text
}

// tellRefusal tells programs, status among them, what a plan refused.
func (e *env) tellRefusal(name string, err error) {
	if text := refusedBy(err); text != "" && e.cli.Bool("json") {
		e.ui.JSON(planned{Tunnel: name, Steps: []plannedStep{}, Refused: text})
	}
}

// refusedThere reads what the plan of another host refused.
func refusedThere(said *bytes.Buffer) (plan planned, ok bool) {
	if json.Unmarshal(said.Bytes(), &plan) != nil || plan.Refused == "" {
		return planned{}, false
	}
	return planned{Tunnel: plan.Tunnel, Findings: []string{plan.Refused}}, true
}

package apply_test

import (
	"strings"
	"testing"

	"wgkeys/deploy/apply"
)

// An interface that another program makes between the plan and its first step is
// that program's: it is neither changed nor, in undoing, removed.
func TestMadeMeanwhile(t *testing.T) {
	h := newHost(t)
	plan, j := h.plan(t, view(t, beforeChange, "shale", nil))
	h.links["wg0"] = &link{index: 99, Link: apply.Link{Kind: "wireguard", MTU: 1400, Up: true}}
	h.appear("wg0")
	before := h.dump()
	err := apply.Run(t.Context(), h.kernel, j, plan, func(apply.Step) {})
	if err == nil || !strings.Contains(err.Error(), "wgkeys did not make it") {
		t.Errorf("told: %v", err)
	}
	if d := diff(before, h.dump()); d != "" {
		t.Errorf("touched:\n%s", d)
	}
	if len(j.Entries) > 0 {
		t.Errorf("the journal has %v", j.Entries)
	}
}

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

// One that takes the place of ours before down removes it is left alone too, and
// the next down has nothing to do with it.
func TestReplacedMeanwhile(t *testing.T) {
	h := newHost(t)
	h.apply(t, view(t, beforeChange, "shale", nil))
	j, others := h.journal(t, "wg0")
	state, err := h.Observe(t.Context(), "wg0", nil, j.Entries)
	if err != nil {
		t.Fatal(err)
	}
	plan := apply.MakeDown("wg0", state, j, others)
	h.links["wg0"] = &link{index: 99, Link: apply.Link{Kind: "wireguard", MTU: 1400, Up: true}}
	err = apply.RunDown(t.Context(), h.kernel, j, plan, func(apply.Step) {})
	if err == nil || !strings.Contains(err.Error(), "wgkeys did not make it") {
		t.Errorf("told: %v", err)
	}
	h.down(t, "wg0")
	if l := h.links["wg0"]; l == nil || l.index != 99 {
		t.Errorf("the other interface is now %v", l)
	}
	if j, _ := h.journal(t, "wg0"); len(j.Entries) > 0 {
		t.Errorf("the journal has %v", j.Entries)
	}
}

package apply_test

import (
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/keyring/fault"
)

// Where nftables cannot redirect the old port, the port changes all the same,
// and the plan says what that costs. Where it can, the redirect is there before
// the port changes and goes after.
func TestPortWithoutRedirect(t *testing.T) {
	moved := view(t, strings.Replace(beforeChange, "30567", "30568", 1), "shale", nil)
	for _, redirects := range []bool{false, true} {
		h := newHost(t)
		h.apply(t, view(t, beforeChange, "shale", nil))
		j, others := h.journal(t, "wg0")
		state, err := h.Observe(t.Context(), "wg0", moved, j.Entries)
		if err != nil {
			t.Fatal(err)
		}
		state.Redirects = redirects
		plan, err := apply.Make(moved, state, j, others)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, s := range plan.Steps {
			switch c := s.Change.(type) {
			case apply.FilterChange:
				kinds = append(kinds, "table")
			case apply.DeviceChange:
				if c.Old.ListenPort != c.New.ListenPort {
					kinds = append(kinds, "port")
				}
			}
		}
		want, note := "port", "what is on its way to port 30567, OUTSIDE, as it changes to 30568 is lost"
		if redirects {
			want, note = "table port table", ""
		}
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("redirects %t: the steps are %q, want %q:\n%s", redirects, got, want, spelled(plan))
		}
		if got := strings.Join(plan.Notes, "\n"); !strings.Contains(got, note) || note == "" && got != "" {
			t.Errorf("redirects %t: the notes are %q, want %q", redirects, got, note)
		}
	}
}

// A port that another program has is refused before anything is touched: the
// redirect would take the tunnel's packets to that program.
func TestPortTaken(t *testing.T) {
	h := newHost(t)
	h.apply(t, view(t, beforeChange, "shale", nil))
	moved := view(t, strings.Replace(beforeChange, "30567", "30568", 1), "shale", nil)
	j, others := h.journal(t, "wg0")
	state, err := h.Observe(t.Context(), "wg0", moved, j.Entries)
	if err != nil {
		t.Fatal(err)
	}
	state.Redirects, state.PortTaken = true, true
	plan, err := apply.Make(moved, state, j, others)
	if err == nil || !strings.Contains(err.Error(), "another program has port 30568") || len(fault.Hints(err)) != 1 {
		t.Errorf("%v, hints %q, plan %v", err, fault.Hints(err), plan)
	}
}

package apply_test

import (
	"context"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
)

// TestNeededSince: what somebody has come to need stays with all that stands and falls
// with it, down says so once, and nothing is left in the journal. All else goes back.
func TestNeededSince(t *testing.T) {
	shale, _ := firstUsers(t)
	shale.ForwardIPv4 = true
	h := newHost(t)
	origin := h.dump()
	h.apply(t, shale)
	j, others := h.journal(t, "wg0")
	state, err := h.Observe(t.Context(), "wg0", nil, j.Entries)
	if err != nil {
		t.Fatal(err)
	}
	state.Needs = map[string]string{"net/ipv4/ip_forward": "the bridge docker0"}
	plan := apply.MakeDown("wg0", state, j, others)
	if err := apply.RunDown(context.Background(), h.kernel, j, plan, func(apply.Step) {}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"net.ipv4.ip_forward stays 1: the bridge docker0 needs it by now, and did not before"}; strings.Join(plan.Notes, "\n") != want[0] {
		t.Errorf("the notes are %q, want %q", plan.Notes, want)
	}
	for _, line := range strings.Split(strings.TrimSpace(diff(origin, h.dump())), "\n") {
		if !strings.Contains(line, "net/ipv4/ip_forward") && !strings.Contains(line, "net/ipv4/conf/") {
			t.Errorf("left: %s", line)
		}
	}
	for _, key := range []string{"net/ipv4/ip_forward", "net/ipv4/conf/eth0/forwarding"} {
		if h.sysctls[key] != "1" {
			t.Errorf("%s is %s", key, h.sysctls[key])
		}
	}
	if again, _ := h.journal(t, "wg0"); len(again.Entries) > 0 {
		t.Errorf("the journal has %v", again.Order)
	}
}

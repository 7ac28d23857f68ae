package apply_test

import (
	"strings"
	"testing"

	"wgkeys/deploy/apply"
)

// TestThreadsOfPeers: who has many peers for the threads that the host allows gives
// them none, before they are there; who has few, or a kernel without, does nothing.
func TestThreadsOfPeers(t *testing.T) {
	v := view(t, mtuHub, "shale", nil) // one peer
	up := newHost(t)
	up.apply(t, v)
	for _, test := range []struct {
		name    string
		link    bool
		threads apply.Threads
		want    bool
	}{
		{"a fresh interface", false, apply.Threads{Likely: true, Max: 15}, true},
		{"a fresh interface, and room", false, apply.Threads{Likely: true, Max: 16}, false},
		{"a fresh interface of an older kernel", false, apply.Threads{Max: 15}, false},
		{"threads", true, apply.Threads{Link: "1", Likely: true, Max: 15}, true},
		{"threads, and room", true, apply.Threads{Link: "1", Max: 16}, false},
		{"no threads", true, apply.Threads{Link: "0", Likely: true, Max: 15}, false},
		{"no such file", true, apply.Threads{Likely: true, Max: 15}, false},
		{"a limit that cannot be read", true, apply.Threads{Link: "1"}, false},
	} {
		h := newHost(t)
		if test.link {
			h = up
		}
		h.threads = test.threads
		plan, _ := h.plan(t, v)
		said := spelled(plan)
		at := strings.Index(said, "echo 0 > /sys/class/net/wg0/threaded")
		if found := at >= 0; found != test.want {
			t.Errorf("%s: the plan is\n%s", test.name, said)
		}
		if peer := strings.Index(said, " peer "); test.want && !test.link && at > peer {
			t.Errorf("%s: after the peers:\n%s", test.name, said)
		}
	}
}

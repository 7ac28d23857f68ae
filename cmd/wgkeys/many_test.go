package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh/sshtest"
)

// TestHostileHosts: among several, one that never stops talking comes to an end, and the
// advice of another is not taken for this machine's.
func TestHostileHosts(t *testing.T) {
	t.Parallel()
	endless := sshtest.Start(t, sshtest.Config{Lines: []string{"ForceCommand exec yes a step"}})
	// It has another version too, which is not guessed to be why where it says why.
	advice := `case "$SSH_ORIGINAL_COMMAND" in *--version*) echo wgkeys other; exit 0;; esac; echo "wgkeys: error: no" >&2; echo "wgkeys: hint: true; touch /advice" >&2; exit 1`
	adviser := sshtest.Start(t, sshtest.Config{Lines: []string{"ForceCommand " + advice}})
	f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": endless, "beta": adviser})
	f.must("gen", "-q", "alpha", "beta")
	for _, flag := range []string{"--all", "--json"} {
		code, _, said := f.run("plan", flag, "alpha", "beta")
		for _, want := range []string{
			`wgkeys plan failed on host "alpha": the host says too much`,
			"hint: as beta says: true; touch /advice\n", "not done on 2 of 2 hosts",
		} {
			if code != ui.ExitFailed || !strings.Contains(said, want) {
				t.Errorf("%s exits %d, no %q in\n%.2000s", flag, code, want, said)
			}
		}
	}
}

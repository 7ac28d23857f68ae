package remote

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/ui"
)

// TestSilentHostMeanwhile: those that answer are told of before one that does not is
// given up.
func TestSilentHostMeanwhile(t *testing.T) {
	t.Parallel()
	var said []string
	silent := make(chan bool)
	hosts := []*HostStatus{{Host: "alpha"}, {Host: "beta"}, {Host: "gamma", dead: make([]deadPeer, 1)}}
	g := gathering{all: hosts,
		tell:  func(s *HostStatus) { said = append(said, s.Host) },
		waits: func(names []string) { said = append(said, "waits for "+ui.Naming(names)); close(silent) },
	}
	g.gather(2, func(s *HostStatus) {
		if s.Host == "alpha" {
			<-silent
		}
	})
	if got, want := strings.Join(said, ", "), "beta, waits for alpha, alpha"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

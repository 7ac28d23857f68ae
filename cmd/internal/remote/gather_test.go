package remote

import (
	"fmt"
	"strings"
	"testing"

	"wgkeys/cmd/internal/ui"
)

// TestSilentHostMeanwhile: the others are asked before one that does not answer is given
// up, and it is named.
func TestSilentHostMeanwhile(t *testing.T) {
	t.Parallel()
	var said []string
	silent := make(chan bool)
	hosts := [][]*HostStatus{{{Host: "alpha"}}, {{Host: "beta"}}, {{Host: "gamma"}}}
	g := gathering{all: hosts,
		step:  func(done, all int) { said = append(said, fmt.Sprintf("%d of %d", done, all)) },
		waits: func(names []string) { said = append(said, "waits for "+ui.Naming(names)); close(silent) },
	}
	g.gather(2, func(host []*HostStatus) {
		if host[0].Host == "alpha" {
			<-silent
		}
	})
	if got, want := strings.Join(said, ", "), "1 of 3, 2 of 3, waits for alpha, 3 of 3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

package ui

import (
	"testing"
	"time"

	"github.com/rivo/uniseg"
)

// TestBarText: a bar is as wide as there is room, and never wider.
func TestBarText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		done, all, columns int
		want               string
	}{
		{0, 200, 50, "wgkeys: keys 0 / 200 [                        ] 0%"},
		{50, 200, 50, "wgkeys: keys 50 / 200 [==>           ] 25% 9s left"},
		{200, 200, 50, "wgkeys: keys 200 / 200 [============] 100% 0s left"},
		{50, 200, 40, "wgkeys: keys 50 / 200 25% 9s left"},
		{50, 200, 20, "wgkeys: keys 50 /..."},
		{3, 0, 60, "wgkeys: keys 3 / 3 [==========================] 100% 0s left"},
	} {
		got := barText("wgkeys: keys", test.done, test.all, 3*time.Second, test.columns)
		if got != test.want || uniseg.StringWidth(got) > test.columns {
			t.Errorf("%d of %d in %d columns: %q, want %q", test.done, test.all, test.columns, got, test.want)
		}
	}
}

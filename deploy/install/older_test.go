package install

import "testing"

// TestOlder: releases are ordered by their versions, other builds by the days of their
// commits, and what has no order is no older than anything.
func TestOlder(t *testing.T) {
	t.Parallel()
	const of = " (commit 0123456789ab, "
	for _, test := range []struct {
		ours, theirs string
		want         bool
	}{
		{"wgkeys v1.2.0" + of + "2026-11-01, go1.26.1)", "wgkeys v1.10.0" + of + "2026-10-01, go1.26.1)", true},
		{"wgkeys v1.10.0" + of + "2026-10-01, go1.26.1)", "wgkeys v1.2.0" + of + "2026-11-01, go1.26.1)", false},
		{"wgkeys v1.2.0", "wgkeys v1.2.1 (go1.26.1)", true},
		{"wgkeys v1.2.0-rc2", "wgkeys v1.2.0", true},
		{"wgkeys v1.2.0-rc2", "wgkeys v1.2.0-rc10", true},
		{"wgkeys v1.2.0", "wgkeys v1.2.0-rc2", false},
		{"wgkeys v1.2.0", "wgkeys v1.2.0", false},
		{"wgkeys devel" + of + "2026-11-01, go1.26.1)", "wgkeys devel" + of + "2026-11-02, go1.26.1)", true},
		{"wgkeys devel" + of + "2026-11-02, go1.26.1)", "wgkeys devel" + of + "2026-11-02, go1.26.1), with changes", false},
		{"wgkeys devel" + of + "2026-11-01, go1.26.1)", "wgkeys v1.2.0" + of + "2026-11-02, go1.26.1)", true},
		{"wgkeys devel" + of + "2026-11-03, go1.26.1)", "wgkeys v1.2.0" + of + "2026-11-02, go1.26.1)", false},
		{"wgkeys devel (go1.26.1)", "wgkeys v9.0.0" + of + "2026-11-02, go1.26.1)", false},
		{"wgkeys v0.0.0-20261101000000-0123456789ab (2026-11-01, go1.26.1)",
			"wgkeys v0.0.0-20261001000000-0123456789ab (2026-10-01, go1.26.1)", false},
		{"wgkeys devel", "wgkeys devel", false},
		{"wgkeys v1.2.0", "wgkeys of this test", false},
		{"", "", false},
	} {
		if got := Older(test.ours, test.theirs); got != test.want {
			t.Errorf("%q older than %q: %v", test.ours, test.theirs, got)
		}
	}
}

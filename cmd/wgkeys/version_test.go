package main

import "testing"

func TestVersion(t *testing.T) {
	for _, test := range []struct {
		module, revision string
		modified         bool
		want             string
	}{
		{"v1.2.3", "0123456789abcdef0123", false, "wgkeys v1.2.3 (commit 0123456789ab)"},
		{"v1.2.3", "", false, "wgkeys v1.2.3"},
		{"(devel)", "0123456789abcdef0123", true, "wgkeys devel (commit 0123456789ab), with changes"},
		{"", "", false, "wgkeys devel"},
	} {
		if got := versionOf(test.module, test.revision, test.modified); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

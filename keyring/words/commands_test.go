package words

import "testing"

// TestCommands: a command names its tunnel where there are several, and only there.
func TestCommands(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		tunnel, verb string
		hosts        []string
		want         string
	}{
		{"", "apply", []string{"shale"}, "wgkeys apply shale"},
		{"wg1", "apply", []string{"shale"}, "wgkeys apply -t wg1 shale"},
		{"wg1", "rotate --unknown", []string{"shale", "basalt"}, "wgkeys rotate --unknown -t wg1 shale basalt"},
		{"wg1", "plan", []string{"web*"}, "wgkeys plan -t wg1 'web*'"},
		{"wg1", "status", nil, "wgkeys status -t wg1"},
	} {
		if got := (Commands{Tunnel: test.tunnel}).Run(test.verb, test.hosts...); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

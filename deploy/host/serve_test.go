package host

import "testing"

// TestServeUnknownKey: to a controller, which is newer, the key of its view that this host does
// not know is reported as such.
func TestServeUnknownKey(t *testing.T) {
	for text, want := range map[string]string{
		`{"format": 1, "tunnel": "wg0", "of_tomorrow": true}`:               "of_tomorrow",
		`{"format": 1, "peers": [{"name": "shale", "of_tomorrow": ["a"]}]}`: "of_tomorrow",
		`{"format": 1, "tunnel": "json: unknown field \"of_tomorrow\""`:     "",
		`{"format": 1, "tunnel": ["json: unknown field \"of_tomorrow\""]}`:  "",
		`{"format": 2, "tunnel": "wg0"}`:                                    "",
	} {
		if got := planned(t.Context(), []byte(text)); got.Unknown != want || got.Failed == "" {
			t.Errorf("%s: got %+v", text, got)
		}
	}
}

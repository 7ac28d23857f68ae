package participant

import "wgkeys/deploy/rotate"

// TestOnlySteps wraps what a role reads and changes: its tunnel, and the function that
// saves its record. A test binary replaces it, to make a step fail.
var TestOnlySteps = func(_ *rotate.Record, t rotate.Tunnel, save func(*rotate.Record) error) (rotate.Tunnel,
	func(*rotate.Record) error) {
	return t, save
}

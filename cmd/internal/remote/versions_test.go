package remote

import (
	"errors"
	"slices"
	"testing"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// TestOlder: what an older wgkeys does not know is seen by its exit code or, for a view, by the
// key, and not by how its error is worded.
func TestOlder(t *testing.T) {
	_, err := tunnel.ParseView([]byte(`{"format": 1, "of_tomorrow": true}`))
	if _, unknown := errors.AsType[tunnel.UnknownKeyError](err); !unknown {
		t.Fatalf("the view is refused for another reason: %v", err)
	}
	for _, tt := range []struct {
		exit ssh.ExitError
		want bool
	}{
		{ssh.ExitError{Code: ui.ExitUsage, Stderr: "any words"}, true},
		{ssh.ExitError{Code: ui.ExitUsage}, true}, // those of a wrapper that hides them
		{ssh.ExitError{Code: ui.ExitFailed, Stderr: "wgkeys: error: " + err.Error()}, true},
		{ssh.ExitError{Code: ui.ExitFailed, Stderr: "wgkeys: error: no such command"}, false},
		{ssh.ExitError{Code: ui.ExitFindings}, false},
	} {
		if got := isOlder(&tt.exit); got != tt.want {
			t.Errorf("%+v: got %v", tt.exit, got)
		}
	}
	for _, p := range []rotate.Planned{{Failed: "in other words", Unknown: "of_tomorrow"}, {Failed: err.Error()}} {
		if got := unknownKey(&p); got != "of_tomorrow" {
			t.Errorf("%+v: got %q", p, got)
		}
		err := new(Hosts).cannotPlan(&HostStatus{Host: "shale", tunnel: &tunnel.Tunnel{}}, &p)
		if hints := fault.Hints(err); !slices.Equal(hints, []string{"upgrade wgkeys on shale: wgkeys install shale"}) {
			t.Errorf("%+v: got %v, %q", p, err, hints)
		}
	}
}

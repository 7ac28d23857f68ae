package rotate

import (
	"context"
	"errors"
	"strings"
	"testing"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// speaking is a host with another version: of what it is asked in that one it does
// what it knows.
func speaking(version int, knows ...string) Participant {
	return Participant{Host: "shale", KeyFile: "/etc/wireguard/wg0.key", Upgrade: "wgkeys install shale",
		Ask: func(_ context.Context, q Request) (Answer, error) {
			a := Answer{Protocol: version}
			for _, do := range knows {
				if q.Protocol == version && q.Do == do {
					a.File, a.Live = FileKey{PublicKey: keyring.PublicKey{1}}, Live{PublicKey: keyring.PublicKey{1}}
				}
			}
			return a, nil
		}}
}

// TestOtherVersions: what a host with an older program can do, it is asked for in its
// own version of the protocol; whatever else is asked ends with what to upgrade.
func TestOtherVersions(t *testing.T) {
	for name, tt := range map[string]struct {
		host Participant
		do   string
		hint string // "": it is done
	}{
		"look":             {speaking(1, DoLook), DoLook, ""},
		"refuse":           {speaking(1, DoRefuse), DoRefuse, ""},
		"older than all":   {speaking(1), DoLook, "upgrade wgkeys on shale: wgkeys install shale"},
		"no version":       {speaking(0), DoLook, "upgrade wgkeys on shale: wgkeys install shale"},
		"a rotation":       {speaking(1, DoWatch), DoWatch, "upgrade wgkeys on shale: wgkeys install shale"},
		"newer than this":  {speaking(Protocol+1, DoLook), DoLook, "upgrade wgkeys here: shale has a newer one"},
		"the same version": {speaking(Protocol, DoWatch), DoWatch, ""},
	} {
		_, err := tt.host.ask(t.Context(), Request{Do: tt.do, Tunnel: "wg0", KeyFile: tt.host.KeyFile})
		if hint := strings.Join(fault.Hints(err), "; "); hint != tt.hint || errors.Is(err, errVersion) != (hint != "") {
			t.Errorf("%s: hint %q, error %v", name, hint, err)
		}
	}
}

// TestSurveyOtherVersion: a peer that is to be upgraded is not to be left behind.
func TestSurveyOtherVersion(t *testing.T) {
	r := &Rotation{Tunnel: "wg0", Host: speaking(Protocol, DoLook), Peers: []Participant{speaking(1, DoLook), speaking(1)},
		Jobs: 1}
	_, err := r.Survey(t.Context())
	hints := strings.Join(fault.Hints(err), "; ")
	if !errors.Is(err, errVersion) || strings.Contains(hints, "--skip") ||
		!strings.Contains(hints, "upgrade wgkeys on shale") {
		t.Errorf("%v\n%s", err, hints)
	}
}

// TestUnderstood: a host does what a controller with an older program asks, where that
// means what it meant.
func TestUnderstood(t *testing.T) {
	for _, tt := range []struct {
		q    Request
		want bool
	}{
		{Request{Protocol: Protocol, Do: DoWatch}, true},
		{Request{Protocol: 1, Do: DoLook}, true},
		{Request{Protocol: 1, Do: DoSwitch, Now: true}, true},
		{Request{Protocol: 1, Do: DoSwitch}, false},
		{Request{Protocol: 0, Do: DoLook}, false},
		{Request{Protocol: Protocol + 1, Do: DoLook}, false},
	} {
		if got := tt.q.Understood(); got != tt.want {
			t.Errorf("%+v: %v", tt.q, got)
		}
	}
}

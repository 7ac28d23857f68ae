package vault

import "testing"

// TestRekeySlow: where each file is synced by itself all is as it is elsewhere.
func TestRekeySlow(t *testing.T) {
	x := newTeam(t)
	x.recipients(t, x.aliceIs, x.bobIs)
	stale := x.outdated(t)
	r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made, Want: x.want, lists: x.Lists(), slow: true}
	open, err := r.openAll(t.Context(), stale)
	if err != nil {
		t.Fatal(err)
	}
	if did, err := r.writeAll(t.Context(), stale, open); err != nil || len(did) != len(stale) {
		t.Errorf("%d files of %d, %v", len(did), len(stale), err)
	}
	x.opens(t, x.bob)
}

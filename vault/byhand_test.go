package vault

import (
	"errors"
	"testing"
	"time"
)

// TestByHand: of a preshared key that stock age sealed for both hosts each file has to hold
// what the other does.
func TestByHand(t *testing.T) {
	names := []Name{{"basalt", "wg0.shale.psk"}, {"shale", "wg0.basalt.psk"}}
	for _, alike := range []bool{true, false} {
		x := newTeam(t)
		psk := newPSK(t)
		for i, n := range names {
			if !alike && i == 1 {
				psk = newPSK(t)
			}
			writeFile(t, x.Path(n.Host, n.File), stock(t, x.Vault, n.Host, string(psk.File())))
		}
		r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made.Add(time.Hour)}
		r.Want = func(n Name) (Expected, error) {
			for i := range names {
				if n == names[i] {
					return Expected{Other: names[1-i]}, nil
				}
			}
			return x.want(n)
		}
		before := snapshot(t, x.Vault)
		did, err := r.Run(t.Context(), x.outdated(t))
		if !alike {
			if !errors.Is(err, errMismatch) || len(did) != 0 {
				t.Errorf("two keys for one pair: %v, %v", did, err)
			}
			for path, text := range snapshot(t, x.Vault) {
				if before[path] != text {
					t.Errorf("%s was written", path)
				}
			}
			continue
		}
		if err != nil || len(did) != 2 {
			t.Fatal(did, err)
		}
		for _, n := range names {
			if m, err := x.Meta(n.Host, n.File); err != nil || m.PSK != psk.Fingerprint() || m.Host != n.Host || m.File != n.File {
				t.Errorf("%+v, %v", m, err)
			}
			if _, err := x.OpenPSK(n.Host, n.File, psk.Fingerprint(), x.alice); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestMoveByHand: two files without metadata are not taken for one that was moved before,
// or the first of them would be removed.
func TestMoveByHand(t *testing.T) {
	v, ids := newVault(t, false)
	k := newKey(t)
	writeFile(t, v.Path("shale", "wg0.key"), stock(t, v, "shale", string(k.File())))
	writeFile(t, v.Path("slate", "wg0.key"), stock(t, v, "slate", string(newKey(t).File())))
	from := Name{"shale", "wg0.key"}
	m := &Move{At: from, From: from, To: Name{"slate", "wg0.key"}}
	if err := m.Prepare(v, ids, k.PublicKey()); err == nil {
		t.Error("the file of shale would be removed")
	}
	m.To = Name{"basalt", "wg0.key"}
	if err := m.Prepare(v, ids, k.PublicKey()); !errors.Is(err, ErrNoMeta) {
		t.Error(err)
	}
}

package vault

import (
	"errors"
	"slices"
	"testing"
	"time"

	"wgkeys/keyring"
)

// pairByHand are the two files of a preshared key.
var pairByHand = []Name{{"basalt", "wg0.shale.psk"}, {"shale", "wg0.basalt.psk"}}

// rekeyByHand is to encrypt again what stock age sealed for both hosts of a pair.
func rekeyByHand(t *testing.T, x *team, keys ...keyring.PresharedKey) *Rekey {
	t.Helper()
	for i, n := range pairByHand {
		writeFile(t, x.Path(n.Host, n.File), stock(t, x.Vault, n.Host, string(keys[i].File())))
	}
	r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made.Add(time.Hour)}
	r.Want = func(n Name) (Expected, error) {
		if i := slices.Index(pairByHand, n); i >= 0 {
			return Expected{Other: pairByHand[1-i]}, nil
		}
		return x.want(n)
	}
	return r
}

// TestByHand: of a preshared key that stock age sealed for both hosts each file has to hold
// what the other does.
func TestByHand(t *testing.T) {
	x, psk := newTeam(t), newPSK(t)
	did, err := rekeyByHand(t, x, psk, psk).Run(t.Context(), x.outdated(t))
	if err != nil || len(did) != 2 {
		t.Fatal(did, err)
	}
	for _, n := range pairByHand {
		m, err := x.Meta(n.Host, n.File)
		if err != nil || m.PSK != psk.Fingerprint() || m.Host != n.Host || m.File != n.File {
			t.Errorf("%+v, %v", m, err)
		}
		if _, err := x.OpenPSK(n.Host, n.File, psk.Fingerprint(), x.alice); err != nil {
			t.Error(err)
		}
	}
}

// TestByHandMismatch: two keys for one pair are reported, and both files stay.
func TestByHandMismatch(t *testing.T) {
	x := newTeam(t)
	r := rekeyByHand(t, x, newPSK(t), newPSK(t))
	before := snapshot(t, x.Vault)
	if did, err := r.Run(t.Context(), x.outdated(t)); !errors.Is(err, errMismatch) || len(did) != 0 {
		t.Errorf("two keys for one pair: %v, %v", did, err)
	}
	for path, text := range snapshot(t, x.Vault) {
		if before[path] != text {
			t.Errorf("%s was written", path)
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

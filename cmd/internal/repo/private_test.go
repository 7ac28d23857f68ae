package repo

import (
	"testing"

	"wgkeys/keyring"
	"wgkeys/keyring/words"
)

// TestNoHintsForNobody reads a public key that might be a private one, of a host without a vault
// file. Of thousands of such hosts each hint, which nobody sees, would look at all keys again.
func TestNoHintsForNobody(t *testing.T) {
	r := newTestRepo(t, "")
	k := keyring.PublicKey{0: 8, 31: 0x40}
	if !k.MayBePrivate() {
		t.Fatalf("%s cannot be a private key", k)
	}
	if err := r.Ring.Put("shale", "wg0", k); err != nil {
		t.Fatal(err)
	}
	r.Vault.Commands = func(file string) words.Commands {
		t.Errorf("a hint about %s", file)
		return words.Commands{}
	}
	if got, err := r.Ring.Get("shale", "wg0"); err != nil || got != k {
		t.Errorf("got %s, %v, want %s", got, err, k)
	}
}

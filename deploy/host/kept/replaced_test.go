package kept

import (
	"testing"

	"wgkeys/keyring"
)

// TestNobody: a view with a key of nobody can be read again.
func TestNobody(t *testing.T) {
	for i := range 256 {
		key := Nobody(keyring.PublicKey{byte(i)})
		if read, err := keyring.ParsePublicKey([]byte(key.String())); err != nil || read != key {
			t.Errorf("of key %d: %v", i, err)
		}
	}
}

package revoked

import (
	"bytes"
	"strings"
	"testing"

	"wgkeys/keyring"
)

// FuzzList: whatever a list holds, every question about it has an answer, also where keys
// took each other's place in a circle; a key that took another's place in the end is not
// one that was replaced, and what is not a whole line of public keys is passed over.
func FuzzList(f *testing.F) {
	k := func(n byte) string { return keyring.PublicKey{n, 7}.String() }
	f.Add([]byte(k(1) + " " + k(2) + "\n" + k(2) + " " + k(3) + "\n" + k(4) + "\n"))
	f.Add([]byte(k(1) + " " + k(2) + "\n" + k(2) + " " + k(3) + "\n" + k(3) + " " + k(2) + "\n"))
	f.Add([]byte(k(1) + " " + k(1) + "\n\n" + k(2) + " " + k(1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := List{by: map[keyring.PublicKey]keyring.PublicKey{}, stolen: map[keyring.PublicKey]bool{}}
		for line := range bytes.Lines(text) {
			l.add(line)
		}
		for old, next := range l.by {
			last, replaced := l.By(old)
			if _, more := l.By(last); more || replaced != (last != old) {
				t.Errorf("%s took the place of %s in the end, and was replaced", last, old)
			}
			if !strings.Contains(string(text), old.String()) || !strings.Contains(string(text), next.String()) {
				t.Errorf("%s and %s are not in the list", old, next)
			}
		}
	})
}

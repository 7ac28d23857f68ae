package vault

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"filippo.io/age"
)

// An x25519Pair is one X25519 identity, as it is here and as age has it.
type x25519Pair struct {
	ours   *x25519Identity
	theirs *age.X25519Identity
	to     *x25519Recipient
}

func newX25519Pair(t testing.TB) x25519Pair {
	t.Helper()
	theirs, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := newX25519Identity(theirs)
	if err != nil {
		t.Fatal(err)
	}
	to, err := newX25519Recipient(theirs.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	return x25519Pair{ours, theirs, to}
}

// TestX25519: age unwraps what is wrapped here, and the other way round, among the
// stanzas of others; who is not meant does not.
func TestX25519(t *testing.T) {
	fileKey := make([]byte, fileKeySize)
	for range 100 {
		rand.Read(fileKey)
		me, other := newX25519Pair(t), newX25519Pair(t)
		for _, to := range []age.Recipient{me.to, me.theirs.Recipient()} {
			mine, err := to.Wrap(fileKey)
			if err != nil {
				t.Fatal(err)
			}
			others, err := other.to.Wrap(fileKey)
			if err != nil {
				t.Fatal(err)
			}
			header := append([]*age.Stanza{{Type: "ssh-ed25519", Args: []string{"a", "b"}}}, append(others, mine...)...)
			for _, id := range []age.Identity{me.ours, me.theirs} {
				if key, err := id.Unwrap(header); err != nil || !bytes.Equal(key, fileKey) {
					t.Errorf("%T for %T: %x, %v", id, to, key, err)
				}
			}
			if key, err := other.ours.Unwrap(mine); !errors.Is(err, age.ErrIncorrectIdentity) || key != nil {
				t.Errorf("another identity: %x, %v", key, err)
			}
		}
	}
}

// TestX25519LowOrder: the key that both sides compute would be known to all.
func TestX25519LowOrder(t *testing.T) {
	key, err := ecdh.X25519().NewPublicKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	to := &x25519Recipient{key}
	if s, err := to.Wrap(make([]byte, fileKeySize)); err == nil {
		t.Errorf("wrapped: %v", s)
	}
}

// TestX25519Format: where an identity is printed by mistake nobody learns it.
func TestX25519Format(t *testing.T) {
	id := newX25519Pair(t).ours
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, x := range []any{id, *id, []any{id}, struct{ ID *x25519Identity }{id}} {
			if text := fmt.Sprintf(verb, x); !strings.Contains(text, "(identity)") {
				t.Errorf("%s of %T: %s", verb, x, text)
			}
		}
	}
}

// FuzzX25519: whatever a stanza is, what is made of it here is what age makes of it.
func FuzzX25519(f *testing.F) {
	const id = "AGE-SECRET-KEY-1L27NYJDYRNDSCCELNZE8C6JTSH22TLQJVPGD7289KDLMZA5HWN6SZPEHGF"
	theirs, err := age.ParseX25519Identity(id)
	if err != nil {
		f.Fatal(err)
	}
	ours, err := newX25519Identity(theirs)
	if err != nil {
		f.Fatal(err)
	}
	good, err := theirs.Recipient().Wrap(make([]byte, fileKeySize))
	if err != nil {
		f.Fatal(err)
	}
	share, body := good[0].Args[0], good[0].Body
	f.Add(x25519Type, share, "", body)
	f.Add(x25519Type, share, "more", body)
	f.Add(x25519Type, share+"\n", "", body)
	f.Add(x25519Type, share[:42], "", body)
	f.Add(x25519Type, share, "", body[:31])
	f.Add(x25519Type, share, "", append(bytes.Clone(body), 0))
	f.Add(x25519Type, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", body)
	f.Add("x25519", share, "", body)
	f.Fuzz(func(t *testing.T, kind, share, more string, body []byte) {
		s := &age.Stanza{Type: kind, Args: []string{share}, Body: body}
		if more != "" {
			s.Args = append(s.Args, more)
		}
		want, wantErr := theirs.Unwrap([]*age.Stanza{s})
		got, err := ours.Unwrap([]*age.Stanza{s})
		if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) || errors.Is(err, age.ErrIncorrectIdentity) != errors.Is(wantErr, age.ErrIncorrectIdentity) {
			t.Errorf("%x, %v; age: %x, %v", got, err, want, wantErr)
		}
	})
}

// BenchmarkX25519 compares with age: to wrap and unwrap a file key.
func BenchmarkX25519(b *testing.B) {
	p := newX25519Pair(b)
	fileKey := make([]byte, fileKeySize)
	for _, side := range []struct {
		name string
		to   age.Recipient
		id   age.Identity
	}{{"ours", p.to, p.ours}, {"age", p.theirs.Recipient(), p.theirs}} {
		header, err := side.to.Wrap(fileKey)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("wrap/"+side.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := side.to.Wrap(fileKey); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("unwrap/"+side.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := side.id.Unwrap(header); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package keyring

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// secrets returns one key of each secret kind, the word that it prints as, and
// its bytes.
func secrets(t *testing.T) []struct {
	key   any
	word  string
	bytes [32]byte
} {
	t.Helper()
	private, err := GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	psk, err := GeneratePresharedKey()
	if err != nil {
		t.Fatal(err)
	}
	return []struct {
		key   any
		word  string
		bytes [32]byte
	}{
		{private, "(private key)", private.Key()},
		{psk, "(preshared key)", psk.Key()},
	}
}

// spellings are the ways in which fmt and the encoders would show the bytes.
// Eight bytes are enough to tell a leak from chance.
func spellings(key [32]byte) []string {
	part := key[:8]
	decimal := strings.Trim(fmt.Sprintf("%d", part), "[]")
	return []string{
		string(part),
		base64.StdEncoding.EncodeToString(key[:6]),
		hex.EncodeToString(part),
		strings.ToUpper(hex.EncodeToString(part)),
		fmt.Sprintf("% x", part),
		decimal,
		strings.ReplaceAll(decimal, " ", ","),
		strings.Trim(fmt.Sprintf("%#v", part), "[]byte{}"),
		strings.Trim(fmt.Sprintf("%o", part), "[]"),
		strings.Trim(fmt.Sprintf("%b", part), "[]"),
		strings.Trim(fmt.Sprintf("%q", part[:1]), `"`) + "\x00",
	}
}

func assertNoSecret(t *testing.T, what, text string, key [32]byte) {
	t.Helper()
	for _, s := range spellings(key) {
		if strings.Contains(text, s) {
			t.Errorf("%s shows the key as %q", what, s)
		}
	}
}

// holders are the places in which a key may be printed by accident. The fields
// are unexported on purpose: fmt does not call the methods of those.
func holders(key any) map[string]any {
	type inner struct{ key any }
	held := map[string]any{
		"interface": struct{ Key any }{key},
		"nested":    struct{ in *inner }{&inner{key}},
		"slice any": []any{key},
		"map any":   map[string]any{"key": key},
		"error":     fmt.Errorf("with %v", key),
	}
	switch k := key.(type) {
	case PrivateKey:
		held["value"], held["pointer"] = k, &k
		held["struct"] = struct{ key PrivateKey }{k}
		held["exported"] = struct{ Key PrivateKey }{k}
		held["embedded"] = struct{ PrivateKey }{k}
		held["pointer in struct"] = struct{ key *PrivateKey }{&k}
		held["pointer to struct"] = &struct{ key PrivateKey }{k}
		held["slice"], held["array"] = []PrivateKey{k}, [1]PrivateKey{k}
		held["map"], held["map key"] = map[string]PrivateKey{"a": k}, map[PrivateKey]bool{k: true}
	case PresharedKey:
		held["value"], held["pointer"] = k, &k
		held["struct"] = struct{ key PresharedKey }{k}
		held["exported"] = struct{ Key PresharedKey }{k}
		held["embedded"] = struct{ PresharedKey }{k}
		held["pointer in struct"] = struct{ key *PresharedKey }{&k}
		held["pointer to struct"] = &struct{ key PresharedKey }{k}
		held["slice"], held["array"] = []PresharedKey{k}, [1]PresharedKey{k}
		held["map"], held["map key"] = map[string]PresharedKey{"a": k}, map[PresharedKey]bool{k: true}
	}
	return held
}

func TestFormat(t *testing.T) {
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%#q", "%x", "% x", "%X", "%d", "%o", "%b", "%c", "%U",
		"%t", "%e", "%g", "%p", "%z", "%100v", "%.3s", "%T"}
	for _, s := range secrets(t) {
		for where, held := range holders(s.key) {
			for _, verb := range verbs {
				assertNoSecret(t, verb+" of "+where, fmt.Sprintf(verb, held), s.bytes)
			}
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(verb, s.key); got != s.word {
				t.Errorf("%s of a key is %q, want %q", verb, got, s.word)
			}
		}
	}
}

// TestFormatSees proves that assertNoSecret sees a leak: a plain array in a
// struct with a String method is what the pointer in our types is against.
func TestFormatSees(t *testing.T) {
	for _, s := range secrets(t) {
		for _, verb := range []string{"%v", "%x", "%#v"} {
			text := fmt.Sprintf(verb, struct{ key [32]byte }{s.bytes})
			leak := false
			for _, spelling := range spellings(s.bytes) {
				leak = leak || strings.Contains(text, spelling)
			}
			if !leak {
				t.Errorf("%s of a plain array is not seen: %s", verb, text)
			}
		}
	}
}

func TestMarshal(t *testing.T) {
	for _, s := range secrets(t) {
		for where, held := range map[string]any{
			"value":    s.key,
			"exported": struct{ Key any }{s.key},
			"slice":    []any{s.key},
			"map":      map[string]any{"key": s.key},
		} {
			if out, err := json.Marshal(held); !errors.Is(err, errSecret) {
				t.Errorf("json of %s: %q, %v", where, out, err)
			}
		}
		if out, err := xml.Marshal(s.key); !errors.Is(err, errSecret) {
			t.Errorf("xml: %q, %v", out, err)
		}
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(s.key); !errors.Is(err, errSecret) {
			t.Errorf("gob: %v", err)
		}
		assertNoSecret(t, "gob", b.String(), s.bytes)
		if out, err := s.key.(encoding.TextMarshaler).MarshalText(); !errors.Is(err, errSecret) {
			t.Errorf("text: %q, %v", out, err)
		}
		if out, err := s.key.(encoding.BinaryMarshaler).MarshalBinary(); !errors.Is(err, errSecret) {
			t.Errorf("binary: %q, %v", out, err)
		}
	}
}

func TestLog(t *testing.T) {
	for _, s := range secrets(t) {
		for where, held := range holders(s.key) {
			var b bytes.Buffer
			slog.New(slog.NewJSONHandler(&b, nil)).Info("json", "key", held)
			slog.New(slog.NewTextHandler(&b, nil)).Info("text", "key", held)
			assertNoSecret(t, "slog of "+where, b.String(), s.bytes)
		}
	}
}

// TestSpelled: a private key that stands where its public one belongs is not shown, and
// another public key is.
func TestSpelled(t *testing.T) {
	key, err := GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	inPlace := PublicKey(*key.secret.bytes)
	if got := inPlace.Spelled(key.PublicKey()); got != "the private key itself, in the clear" {
		t.Errorf("a private key is shown: %d bytes", len(got))
	}
	if got, want := other.PublicKey().Spelled(key.PublicKey()), other.PublicKey().String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !key.Is(inPlace) || key.Is(key.PublicKey()) || (PrivateKey{}).Is(PublicKey{}) {
		t.Error("a private key is not told from a public one")
	}
}

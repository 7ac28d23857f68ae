package keyring

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A vector is one entry of testdata/keys.txt, its fields by name.
type vector map[string]string

func readVectors(t testing.TB) []vector {
	t.Helper()
	file, err := os.ReadFile("../testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	for block := range strings.SplitSeq(string(file), "\n\n") {
		v := vector{}
		for line := range strings.Lines(block) {
			if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok && line[0] != '#' {
				v[key] = value
			}
		}
		if len(v) == 0 {
			continue
		}
		if _, ok := v["expect keyring"]; !ok { // as of any public key
			v["expect keyring"] = v["expect public key"]
		}
		if v["text"], err = strconv.Unquote(v["text"]); err != nil || len(v) != 7 {
			t.Fatalf("no valid vector: %q", block)
		}
		vectors = append(vectors, v)
	}
	if len(vectors) < 40 {
		t.Fatalf("only %d vectors", len(vectors))
	}
	return vectors
}

var reasons = map[string]error{
	"ok":            nil,
	"bad-length":    ErrLength,
	"non-canonical": ErrNonCanonical,
	"zero":          errZero,
	"low-order":     errLowOrder,
	"not-clamped":   errNotClamped,
}

// doors are all ways by which a text becomes a key, with the kind of key. Each
// returns the key spelled again.
var doors = []struct {
	name, kind string
	open       func(t *testing.T, text []byte) ([]byte, error)
}{
	{"ParsePrivateKey", "private key", func(_ *testing.T, text []byte) ([]byte, error) {
		k, err := ParsePrivateKey(text)
		return spell(k, err)
	}},
	{"ParsePresharedKey", "preshared key", func(_ *testing.T, text []byte) ([]byte, error) {
		k, err := ParsePresharedKey(text)
		return spell(k, err)
	}},
	{"ParsePublicKey", "public key", func(_ *testing.T, text []byte) ([]byte, error) {
		k, err := ParsePublicKey(text)
		return []byte(k.String() + "\n"), err
	}},
	{"UnmarshalText", "public key", func(_ *testing.T, text []byte) ([]byte, error) {
		var k PublicKey
		err := k.UnmarshalText(text)
		return []byte(k.String() + "\n"), err
	}},
	{"json.Unmarshal", "public key", func(t *testing.T, text []byte) ([]byte, error) {
		in, err := json.Marshal(string(text))
		if err != nil {
			t.Fatal(err)
		}
		var k PublicKey
		err = json.Unmarshal(in, &k)
		return []byte(k.String() + "\n"), err
	}},
	{"Ring.Get", "keyring", func(t *testing.T, text []byte) ([]byte, error) {
		k, err := ringWith(t, text).Get("shale", "wg0")
		return []byte(k.String() + "\n"), err
	}},
	{"Ring.Load", "keyring", func(t *testing.T, text []byte) ([]byte, error) {
		keys, err := ringWith(t, text).Load("wg0")
		return []byte(keys["shale"].String() + "\n"), err
	}},
}

func spell(k interface{ File() []byte }, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return k.File(), nil
}

func ringWith(t *testing.T, text []byte) Ring {
	t.Helper()
	r := Ring{Dir: t.TempDir()}
	path := r.Path("shale", "wg0")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range readVectors(t) {
		t.Run(v["name"], func(t *testing.T) {
			for _, door := range doors {
				expect := v["expect "+door.kind]
				want, known := reasons[expect]
				if !known {
					t.Fatalf("unknown reason %q", expect)
				}
				seen[expect] = true
				got, err := door.open(t, []byte(v["text"]))
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %s", door.name, err, expect)
				}
				if err != nil && !strings.Contains(err.Error(), expect+":") {
					t.Errorf("%s: %q does not name %s", door.name, err, expect)
				}
				if err != nil && len(v["text"]) > 8 && strings.Contains(err.Error(), v["text"][:8]) {
					t.Errorf("%s: the error quotes the text: %q", door.name, err)
				}
				if err == nil && string(got) != line(v["text"]) {
					t.Errorf("%s: spells it %q", door.name, got)
				}
			}
		})
	}
	for reason := range reasons {
		if !seen[reason] {
			t.Errorf("no vector expects %s", reason)
		}
	}
}

// TestVectorsWG runs the vectors through wireguard-tools: what we take as a
// private key it takes too, with the same public key, and it reads every
// spelling that we write.
func TestVectorsWG(t *testing.T) {
	wg, err := exec.LookPath("wg")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("wireguard-tools are required in CI")
		}
		t.Skip("no wg here")
	}
	for _, v := range readVectors(t) {
		t.Run(v["name"], func(t *testing.T) {
			cmd := exec.Command(wg, "pubkey")
			cmd.Stdin = strings.NewReader(v["text"])
			out, err := cmd.Output()
			if (err != nil) != (v["wg"] == "refused") {
				t.Fatalf("wg pubkey: %v, want %s", err, v["wg"])
			}
			if err == nil && string(out) != v["wg"]+"\n" {
				t.Errorf("wg pubkey: %q, want %s", out, v["wg"])
			}
			k, err := ParsePrivateKey([]byte(v["text"]))
			if err == nil && k.PublicKey().String() != v["wg"] {
				t.Errorf("PublicKey: %v, wg pubkey: %s", k.PublicKey(), v["wg"])
			}
		})
	}
}

// line is a text with the end of line that wg(8) writes, and nothing before it.
func line(text string) string {
	text = strings.TrimPrefix(text, "\ufeff")
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r") + "\n"
}

// FuzzParse: what a parser accepts comes back byte for byte, but for the end of its
// line, and all three agree on the spelling.
func FuzzParse(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add([]byte(v["text"]))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want := line(string(text))
		psk, pskErr := ParsePresharedKey(text)
		if pskErr == nil && string(psk.File()) != want {
			t.Errorf("preshared key %q comes back as %q", text, psk.File())
		}
		private, privateErr := ParsePrivateKey(text)
		if privateErr == nil && string(private.File()) != want {
			t.Errorf("private key %q comes back as %q", text, private.File())
		}
		public, publicErr := ParsePublicKey(text)
		if publicErr == nil && public.String()+"\n" != want {
			t.Errorf("public key %q comes back as %q", text, public)
		}
		if pskErr != nil && (privateErr == nil || publicErr == nil) {
			t.Errorf("%q is a key, but no preshared key: %v", text, pskErr)
		}
	})
}

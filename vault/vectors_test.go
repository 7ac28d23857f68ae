package vault

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	agevectors "c2sp.org/CCTV/age"
	"filippo.io/age"

	"wgkeys/keyring"
)

// A vector is one of the files of C2SP CCTV/age.
type vector struct {
	expect  string
	hash    string // of the content
	ids     []age.Identity
	armored bool
	file    []byte
}

func parseVector(t *testing.T, text []byte) vector {
	t.Helper()
	head, file, ok := bytes.Cut(text, []byte("\n\n"))
	if !ok {
		t.Fatal("no header")
	}
	v := vector{file: file}
	for line := range strings.SplitSeq(string(head), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "expect":
			v.expect = value
		case "payload":
			v.hash = value
		case "armored":
			v.armored = true
		case "compressed":
			r, err := zlib.NewReader(bytes.NewReader(v.file))
			if err != nil {
				t.Fatal(err)
			}
			if v.file, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		case "identity", "passphrase":
			v.ids = append(v.ids, vectorIdentity(t, key, value))
		case "comment", "file key":
		default:
			t.Fatalf("unknown key %q", key)
		}
	}
	return v
}

func vectorIdentity(t *testing.T, key, value string) age.Identity {
	t.Helper()
	if key == "passphrase" {
		id, err := age.NewScryptIdentity(value)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	var found identityFile
	if err := found.parseLine(value); err != nil {
		t.Fatal(err)
	}
	return found.silent[0]
}

// outcome says in the words of the vectors what became of a vault file. Size
// and armor are looked at before age is asked, so a vector may be refused for
// another reason than it names; it never may be accepted for one.
func outcome(v Vault, ids *Identities) (content []byte, what string) {
	s, err := v.read("shale", "wg0.key")
	if err != nil {
		return nil, "refused: " + err.Error()
	}
	var text [maxText]byte
	n, err := s.decrypt(v, "shale", ids, &text)
	switch {
	case err == nil:
		return text[:n], "success"
	case errors.Is(err, ErrNoIdentity):
		return nil, "no match"
	}
	return nil, "refused: " + err.Error()
}

// allows reports whether an outcome is the one that the vector wants.
func (v vector) allows(got string, content []byte) bool {
	refused := strings.HasPrefix(got, "refused")
	switch v.expect {
	case "success":
		sum := sha256.Sum256(content)
		return got == "success" && hex.EncodeToString(sum[:]) == v.hash
	case "no match":
		return got == "no match" || refused
	}
	return refused && len(content) == 0
}

// larger are the vectors of good files that are no key files, because they are
// more than maxFile long.
var larger = map[string]bool{
	"stream_257_chunks":             true,
	"stream_257_chunks_full":        true,
	"stream_258_chunks":             true,
	"stream_last_chunk_full":        true,
	"stream_last_chunk_full_second": true,
	"stream_three_chunks":           true,
	"stream_two_chunks":             true,
}

// TestVectors runs all vectors of age through our way to open a file. Each good
// one opens with its content, unless it is larger than a key; each bad one is
// refused.
func TestVectors(t *testing.T) {
	names, err := fs.ReadDir(agevectors.Vectors, ".")
	if err != nil {
		t.Fatal(err)
	}
	counts, exceptions := map[string]int{}, 0
	for _, name := range names {
		t.Run(name.Name(), func(t *testing.T) {
			text, err := fs.ReadFile(agevectors.Vectors, name.Name())
			if err != nil {
				t.Fatal(err)
			}
			vec := parseVector(t, text)
			counts[vec.expect]++
			v := Vault{Dir: filepath.Join(t.TempDir(), "vault")}
			writeFile(t, v.Path("shale", "wg0.key"), string(vec.file))
			ids := FindIdentities()
			for _, id := range vec.ids {
				ids.found.silent = append(ids.found.silent, silent{Identity: id})
			}
			content, got := outcome(v, ids)
			if larger[name.Name()] {
				exceptions++
				if vec.expect != "success" || !strings.Contains(got, "larger than 64 KiB") {
					t.Errorf("%s, want it too large: %s", vec.expect, got)
				}
			} else if !vec.allows(got, content) {
				t.Errorf("%s, or other content: want %s", got, vec.expect)
			}
			if _, err := v.OpenKey("shale", "wg0.key", keyring.PublicKey{}, ids); err == nil {
				t.Error("a private key was found in it")
			}
		})
	}
	if len(names) < 100 || exceptions != len(larger) {
		t.Errorf("%d vectors, %d exceptions of %d", len(names), exceptions, len(larger))
	}
	t.Logf("%d vectors: %v, of which %d are larger than a key", len(names), counts, exceptions)
}

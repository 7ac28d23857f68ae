package vault

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"
)

// This file wraps and unwraps file keys as C2SP age.md, "The X25519 recipient type",
// has it. age's own multiplies on the curve four times to wrap a key where two are
// needed, and twice to unwrap one: golang.org/x/crypto/curve25519 derives a public key
// whatever it is asked for. A rekey of ten thousand hosts took half as long again. All
// else of age is age's own, and so are the spelling of keys and the lists of labels.

const (
	x25519Type  = "X25519"
	x25519Label = "age-encryption.org/v1/X25519"
)

// x25519Recipient is an [age.X25519Recipient].
type x25519Recipient struct{ key *ecdh.PublicKey }

func newX25519Recipient(r *age.X25519Recipient) (*x25519Recipient, error) {
	key, err := ecdh.X25519().NewPublicKey(bech32Data(r.String()))
	return &x25519Recipient{key}, err
}

// Wrap implements [age.Recipient]. It fails for a key that is a point of low order.
func (r *x25519Recipient) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	share := ephemeral.PublicKey()
	wrap, err := x25519Cipher(ephemeral, r.key, share, r.key)
	if err != nil {
		return nil, err
	}
	return []*age.Stanza{{
		Type: x25519Type,
		Args: []string{base64.RawStdEncoding.EncodeToString(share.Bytes())},
		Body: wrap.Seal(nil, onlyNonce[:], fileKey, nil),
	}}, nil
}

// An x25519Identity is an [age.X25519Identity].
type x25519Identity struct {
	key       *ecdh.PrivateKey
	recipient string
}

func newX25519Identity(i *age.X25519Identity) (*x25519Identity, error) {
	key, err := ecdh.X25519().NewPrivateKey(bech32Data(i.String()))
	return &x25519Identity{key, i.Recipient().String()}, err
}

// Format shows nothing of the key, whatever the verb.
func (x25519Identity) Format(s fmt.State, _ rune) { io.WriteString(s, "(identity)") }

// Unwrap implements [age.Identity].
func (i *x25519Identity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, s := range stanzas {
		if s.Type != x25519Type {
			continue
		}
		if key, err := i.unwrap(s); !errors.Is(err, age.ErrIncorrectIdentity) {
			return key, err
		}
	}
	return nil, age.ErrIncorrectIdentity
}

var errX25519 = errors.New("invalid X25519 recipient stanza")

func (i *x25519Identity) unwrap(s *age.Stanza) ([]byte, error) {
	// The size is looked at first, or one text could open under many keys.
	if len(s.Args) != 1 || len(s.Body) != fileKeySize+chacha20poly1305.Overhead {
		return nil, errX25519
	}
	b, err := base64Strict.DecodeString(s.Args[0])
	if err != nil || len(s.Args[0]) != base64.RawStdEncoding.EncodedLen(len(b)) { // it passes over ends of lines
		return nil, errX25519
	}
	share, err := ecdh.X25519().NewPublicKey(b)
	if err != nil {
		return nil, errX25519
	}
	wrap, err := x25519Cipher(i.key, share, share, i.key.PublicKey())
	if err != nil {
		return nil, errX25519
	}
	key, err := wrap.Open(nil, onlyNonce[:], s.Body, nil)
	if err != nil {
		return nil, age.ErrIncorrectIdentity
	}
	return key, nil
}

// onlyNonce is that of the cipher below, which encrypts once.
var onlyNonce [chacha20poly1305.NonceSize]byte

// x25519Cipher is what encrypts the file key: its own key is derived from what both
// sides compute. It fails where that is zero (RFC 7748, section 6.1).
func x25519Cipher(ours *ecdh.PrivateKey, theirs, share, recipient *ecdh.PublicKey) (cipher.AEAD, error) {
	secret, err := ours.ECDH(theirs)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, secret, slices.Concat(share.Bytes(), recipient.Bytes()), x25519Label, chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.New(key)
}

// bech32Data returns what a key holds that age has spelled: BIP 173 without its
// checksum, as age has no limit to its length.
func bech32Data(key string) (data []byte) {
	const digits, checksum = "qpzry9x8gf2tvdw0s3jn54khce6mua7l", 6
	text := strings.ToLower(key[strings.LastIndexByte(key, '1')+1 : len(key)-checksum])
	bits, n := 0, 0
	for _, c := range []byte(text) {
		bits, n = bits<<5&0xfff|strings.IndexByte(digits, c), n+5
		if n >= 8 {
			n -= 8
			data = append(data, byte(bits>>n))
		}
	}
	return data
}

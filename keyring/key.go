package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// The named reasons for which a key is refused. They are what the vectors in
// testdata/keys.txt expect.
var (
	ErrLength       = errors.New("bad-length: a key is 32 bytes, one line of 44 base64 characters")
	ErrNonCanonical = errors.New("non-canonical: not the one base64 spelling of a key that wg(8) writes")
	errZero         = errors.New("zero: the all-zero key")
	errLowOrder     = errors.New("low-order: a point with which every peer would share the same secret")
	errNotClamped   = errors.New("not-clamped: no private key as wg genkey makes it (RFC 7748, section 5)")
)

// A PublicKey names a host inside a tunnel. It is no secret.
type PublicKey [wgtypes.KeyLen]byte

// A PrivateKey is the Curve25519 scalar of one host in one tunnel.
//
// Under every fmt verb it prints as "(private key)", and it refuses to be
// marshalled, also as an unexported field of another struct (see box).
type PrivateKey struct{ secret *box }

// A PresharedKey is the symmetric secret of one pair of hosts, mixed into their
// handshake. It prints as "(preshared key)" and refuses to be marshalled.
type PresharedKey struct{ secret *box }

// A box hides the bytes of a secret from fmt, which calls no methods of values in
// unexported fields and prints what they hold. One pointer is not enough: fmt
// shows its address under %v, but what it points to under a verb that does not
// suit a pointer, such as %s (badVerb in fmt/print.go). It never follows two.
type box struct{ bytes *[wgtypes.KeyLen]byte }

// GeneratePrivateKey returns a new random private key, clamped.
func GeneratePrivateKey() (PrivateKey, error) {
	k, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return PrivateKey{}, err
	}
	return PrivateKey{&box{(*[wgtypes.KeyLen]byte)(&k)}}, nil
}

// GeneratePresharedKey returns a new random preshared key.
func GeneratePresharedKey() (PresharedKey, error) {
	k, err := wgtypes.GenerateKey()
	if err != nil {
		return PresharedKey{}, err
	}
	return PresharedKey{&box{(*[wgtypes.KeyLen]byte)(&k)}}, nil
}

// ParsePublicKey reads the text of a .pub file: one line of base64, with or without its
// end, which may be LF or CRLF. It refuses points of low order and those that are not
// reduced modulo 2^255-19, which no private key produces (RFC 7748, section 5).
func ParsePublicKey(text []byte) (PublicKey, error) {
	b, err := decode(text)
	if err != nil {
		return PublicKey{}, err
	}
	k := PublicKey(b)
	switch {
	case k == PublicKey{}:
		return PublicKey{}, errZero
	case lowOrder(k):
		return PublicKey{}, errLowOrder
	case !reduced(k):
		return PublicKey{}, ErrNonCanonical
	}
	return k, nil
}

// ParsePrivateKey reads the text of a key file: one line of base64, with or
// without its end. Its errors never hold a byte of the text.
func ParsePrivateKey(text []byte) (PrivateKey, error) {
	b, err := decode(text)
	if err != nil {
		return PrivateKey{}, err
	}
	switch {
	case b == [wgtypes.KeyLen]byte{}:
		return PrivateKey{}, errZero
	case !PublicKey(b).MayBePrivate():
		return PrivateKey{}, errNotClamped
	}
	return PrivateKey{&box{&b}}, nil
}

// MayBePrivate reports whether k is clamped, as each private key is (RFC 7748, section 5),
// and one public key in sixteen.
func (k PublicKey) MayBePrivate() bool { return k[0]&7 == 0 && k[31]&0xc0 == 0x40 }

// ParsePresharedKey reads the text of a preshared key file. The all-zero key,
// which means "none" to the kernel, is refused.
func ParsePresharedKey(text []byte) (PresharedKey, error) {
	b, err := decode(text)
	if err != nil {
		return PresharedKey{}, err
	}
	if b == [wgtypes.KeyLen]byte{} {
		return PresharedKey{}, errZero
	}
	return PresharedKey{&box{&b}}, nil
}

// decode accepts exactly what wg(8) writes, with LF, CRLF or no end of line. Strict refuses
// stray bits in the last character, but base64 ignores newlines anywhere, so the length is
// checked first and the result is encoded again and compared.
func decode(text []byte) (k [wgtypes.KeyLen]byte, err error) {
	line := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(line) != spelledLen {
		return k, ErrLength
	}
	var b [wgtypes.KeyLen + 1]byte
	n, err := strict.Decode(b[:], line)
	if err != nil {
		return k, ErrNonCanonical
	}
	if n != wgtypes.KeyLen {
		return k, ErrLength
	}
	var again [spelledLen]byte
	base64.StdEncoding.Encode(again[:], b[:wgtypes.KeyLen])
	if !bytes.Equal(again[:], line) {
		return k, ErrNonCanonical
	}
	return [wgtypes.KeyLen]byte(b[:]), nil
}

var strict = base64.StdEncoding.Strict()

// spelledLen is the length of a key in base64.
const spelledLen = 44

func encode(k *[wgtypes.KeyLen]byte) []byte {
	return base64.StdEncoding.AppendEncode(nil, k[:])
}

// lowOrder reports whether k times a clamped scalar, a multiple of the cofactor 8, is the
// neutral element, so that ECDH fails (RFC 7748, section 6.1). That holds for the points of
// lowOrderPoints alone; the top bit of a key is ignored.
func lowOrder(k PublicKey) bool {
	k[len(k)-1] &= 0x7f
	return slices.Contains(lowOrderPoints, k)
}

// lowOrderPoints are 0, 1, the two u of order 8, p-1, and 0 and 1 as p and p+1. It is a
// list because ten thousand multiplications take a second.
var lowOrderPoints = []PublicKey{
	{},
	{1},
	point("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
	point("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
	point("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	point("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	point("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
}

func point(text string) PublicKey {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return PublicKey(b)
}

// prime is 2^255-19.
var prime = point("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")

// reduced reports whether k, read as a little-endian number, is below prime.
func reduced(k PublicKey) bool {
	for i := len(k) - 1; i >= 0; i-- {
		if k[i] != prime[i] {
			return k[i] < prime[i]
		}
	}
	return false
}

// IsZero reports whether k is the zero value: no key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// String returns the base64 spelling of k, as wg(8) writes it.
func (k PublicKey) String() string {
	return string(encode((*[wgtypes.KeyLen]byte)(&k)))
}

// MarshalText implements [encoding.TextMarshaler].
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]: it refuses what
// [ParsePublicKey] refuses.
func (k *PublicKey) UnmarshalText(text []byte) error {
	p, err := ParsePublicKey(text)
	if err == nil {
		*k = p
	}
	return err
}

// IsZero reports whether k is the zero value: no key.
func (k PrivateKey) IsZero() bool { return k.secret == nil }

// PublicKey derives the public key of k, which must not be the zero value.
func (k PrivateKey) PublicKey() PublicKey {
	return PublicKey(wgtypes.Key(*k.secret.bytes).PublicKey())
}

// Derived returns the public key that k would have if it were a private key.
func (k PublicKey) Derived() PublicKey { return PublicKey(wgtypes.Key(k).PublicKey()) }

// Spelled returns what to tell a person of k, which stands where the public key want
// belongs. Somebody may have put the private one there: that is not shown.
func (k PublicKey) Spelled(want PublicKey) string {
	if k.Derived() == want {
		return "the private key itself, in the clear"
	}
	return k.String()
}

// Is reports whether the bytes of k are those of p, which stands where a public key belongs.
func (k PrivateKey) Is(p PublicKey) bool { return k.secret != nil && p == PublicKey(*k.secret.bytes) }

// File returns the content of k's key file: one line of base64 with its
// newline, as wg(8) takes it. The caller wipes it with clear.
func (k PrivateKey) File() []byte { return append(encode(k.secret.bytes), '\n') }

// PrivateKeyOf wraps a private key read from the kernel.
func PrivateKeyOf(k wgtypes.Key) PrivateKey { return PrivateKey{&box{(*[wgtypes.KeyLen]byte)(&k)}} }

// PresharedKeyOf wraps a preshared key read from the kernel.
func PresharedKeyOf(k wgtypes.Key) PresharedKey {
	return PresharedKey{&box{(*[wgtypes.KeyLen]byte)(&k)}}
}

// Key returns k for the kernel; it has no other use.
func (k PrivateKey) Key() wgtypes.Key { return *k.secret.bytes }

// IsZero reports whether k is the zero value: no key.
func (k PresharedKey) IsZero() bool { return k.secret == nil }

// Equal reports whether k and l are the same secret.
func (k PresharedKey) Equal(l PresharedKey) bool {
	return k.secret == l.secret || k.secret != nil && l.secret != nil && *k.secret.bytes == *l.secret.bytes
}

// Fingerprint tells preshared keys apart without showing them: the SHA-256, in
// hexadecimal, of the line "wgkeys psk" and the content of the key file. A shell
// has the same from
//
//	{ echo wgkeys psk; cat wg0.basalt.psk; } | sha256sum
//
// A public key derived from it would do as well today, but not against a quantum
// computer, which is what preshared keys are for.
func (k PresharedKey) Fingerprint() string {
	file := k.File()
	defer clear(file)
	return fmt.Sprintf("%x", sha256.Sum256(slices.Concat([]byte("wgkeys psk\n"), file)))
}

// File returns the content of k's key file, as [PrivateKey.File] does.
func (k PresharedKey) File() []byte { return append(encode(k.secret.bytes), '\n') }

// Key returns k for the kernel; it has no other use.
func (k PresharedKey) Key() wgtypes.Key { return *k.secret.bytes }

// errSecret is the error of every attempt to marshal a secret.
var errSecret = errors.New("keyring: a secret key is never marshalled")

// Format implements [fmt.Formatter] for every verb and flag.
func (PrivateKey) Format(s fmt.State, _ rune)     { io.WriteString(s, "(private key)") }
func (PrivateKey) String() string                 { return "(private key)" }
func (PrivateKey) GoString() string               { return "(private key)" }
func (PrivateKey) MarshalText() ([]byte, error)   { return nil, errSecret }
func (PrivateKey) MarshalJSON() ([]byte, error)   { return nil, errSecret }
func (PrivateKey) MarshalBinary() ([]byte, error) { return nil, errSecret }
func (PrivateKey) GobEncode() ([]byte, error)     { return nil, errSecret }

// Format implements [fmt.Formatter] for every verb and flag.
func (PresharedKey) Format(s fmt.State, _ rune)     { io.WriteString(s, "(preshared key)") }
func (PresharedKey) String() string                 { return "(preshared key)" }
func (PresharedKey) GoString() string               { return "(preshared key)" }
func (PresharedKey) MarshalText() ([]byte, error)   { return nil, errSecret }
func (PresharedKey) MarshalJSON() ([]byte, error)   { return nil, errSecret }
func (PresharedKey) MarshalBinary() ([]byte, error) { return nil, errSecret }
func (PresharedKey) GobEncode() ([]byte, error)     { return nil, errSecret }

// HoldsKey reports whether somewhere in s is what has the form of a key as wg(8) writes it: 43
// characters of base64 and an equals sign. It may be a private one that was pasted there.
func HoldsKey[T string | []byte](s T) bool {
	const before = spelledLen - len("=")
	run := 0
	for i := 0; i < len(s) && i-run+before < len(s); i++ { // as long as there is room for one
		switch c := s[i]; {
		case c == '=' && run >= before:
			return true
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/':
			run++
		default:
			run = 0
		}
	}
	return false
}

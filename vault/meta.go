package vault

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"

	"wgkeys/keyring"
)

const (
	stanzaType = "wgkeys"
	version    = 1
	timeLayout = "2006-01-02T15:04:05Z"
)

// A Fingerprint names a recipient. It prints in hexadecimal.
type Fingerprint [16]byte

func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// fingerprint returns the fingerprint of a recipient, given in its canonical spelling.
func fingerprint(recipient string) Fingerprint {
	h := sha256.Sum256([]byte(recipient))
	return Fingerprint(h[:len(Fingerprint{})])
}

// Meta is what a vault file says about itself without being decrypted. The package comment
// says how far it can be trusted.
type Meta struct {
	Version    int               `json:"version"`
	Host       string            `json:"host"`
	File       string            `json:"file"`                 // as installed: "wg0.key", also for a next key
	PublicKey  keyring.PublicKey `json:"public_key,omitzero"`  // of a private key
	PSK        string            `json:"psk,omitempty"`        // fingerprint of a preshared key
	Created    time.Time         `json:"created"`              // when the key was made
	Recipients []Fingerprint     `json:"recipients,omitempty"` // to whom it is encrypted
}

// stanza spells m as the package comment says.
func (m Meta) stanza() *age.Stanza {
	key := m.PublicKey.String()
	if strings.HasSuffix(m.File, pskSuffix) {
		key = m.PSK
	}
	var body []byte
	for _, f := range m.Recipients {
		body = append(body, f[:]...)
	}
	return &age.Stanza{
		Type: stanzaType,
		Args: []string{strconv.Itoa(m.Version), m.Host, m.File, key, m.Created.UTC().Format(timeLayout)},
		Body: body,
	}
}

// parseStanza accepts what stanza writes and nothing else.
func parseStanza(s *age.Stanza) (Meta, error) {
	if len(s.Args) > 0 && s.Args[0] != strconv.Itoa(version) {
		return Meta{}, fmt.Errorf("its metadata has version %.20q, this program knows %d", s.Args[0], version)
	}
	if len(s.Args) != 5 {
		return Meta{}, errors.New("its metadata does not have five arguments")
	}
	m := Meta{Version: version, Host: s.Args[1], File: s.Args[2]}
	if keyring.CheckHost(m.Host) != nil || !validFile(m.File) {
		return Meta{}, errors.New("its metadata names no host and key file")
	}
	if err := m.parseKey(s.Args[3]); err != nil {
		return Meta{}, err
	}
	var err error
	if m.Created, err = time.Parse(timeLayout, s.Args[4]); err != nil {
		return Meta{}, errors.New("the time in its metadata is not RFC 3339 in UTC")
	}
	if m.Recipients, err = parseFingerprints(s.Body); err != nil {
		return Meta{}, err
	}
	// time.Parse also accepts a fraction of a second, for instance. To be sure of the one
	// spelling, format it again and compare. The other arguments have only one spelling.
	var again [len(timeLayout) + 8]byte
	if string(m.Created.UTC().AppendFormat(again[:0], timeLayout)) != s.Args[4] {
		return Meta{}, errors.New("its metadata is not spelled in the one way allowed")
	}
	return m, nil
}

func (m *Meta) parseKey(s string) (err error) {
	if strings.HasSuffix(m.File, keySuffix) {
		// A key file may end with a newline, the metadata may not.
		if m.PublicKey, err = keyring.ParsePublicKey([]byte(s)); err != nil || strings.ContainsAny(s, "\r\n") {
			return errors.New("the public key in its metadata is not valid")
		}
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != s {
		return errors.New("the fingerprint in its metadata is not valid")
	}
	m.PSK = s
	return nil
}

func parseFingerprints(body []byte) ([]Fingerprint, error) {
	var found []Fingerprint
	for b := range slices.Chunk(body, len(Fingerprint{})) {
		if len(b) < len(Fingerprint{}) || slices.Contains(found, Fingerprint(b)) {
			return nil, errors.New("the recipients in its metadata are not valid")
		}
		found = append(found, Fingerprint(b))
	}
	if len(found) == 0 {
		return nil, errors.New("its metadata names no recipient")
	}
	return found, nil
}

// findMeta returns the metadata among the stanzas of a header, or [ErrNoMeta].
func findMeta(stanzas []*age.Stanza) (Meta, error) {
	isOurs := func(s *age.Stanza) bool { return s.Type == stanzaType }
	i := slices.IndexFunc(stanzas, isOurs)
	if i < 0 {
		return Meta{}, ErrNoMeta
	}
	if slices.ContainsFunc(stanzas[i+1:], isOurs) {
		return Meta{}, errors.New("it has metadata twice")
	}
	m, err := parseStanza(stanzas[i])
	if err == nil && len(m.Recipients) > len(stanzas)-1 {
		return Meta{}, errors.New("its metadata names more recipients than it has")
	}
	return m, err
}

// metaRecipient adds the metadata to a file. It is never alone: its user also gives the
// real recipients, and it has their labels, because age refuses to mix recipients with
// different labels.
type metaRecipient struct {
	meta   Meta
	labels []string
}

var _ age.RecipientWithLabels = (*metaRecipient)(nil)

func (r *metaRecipient) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	s, _, err := r.WrapWithLabels(fileKey)
	return s, err
}

// WrapWithLabels implements [age.RecipientWithLabels]. The stanza does not depend on the
// file key.
func (r *metaRecipient) WrapWithLabels([]byte) ([]*age.Stanza, []string, error) {
	s := r.meta.stanza()
	if _, err := parseStanza(s); err != nil {
		return nil, nil, err
	}
	return []*age.Stanza{s}, r.labels, nil
}

// metaIdentity opens nothing: it reads the metadata when age passes the header to it, so no
// parser of our own is needed.
type metaIdentity struct {
	meta Meta
	err  error
}

func (i *metaIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	i.meta, i.err = findMeta(stanzas)
	return nil, age.ErrIncorrectIdentity
}

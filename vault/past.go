package vault

import (
	"encoding/hex"

	"wgkeys/keyring/fault"
)

// ReadMeta returns the metadata in the text of a vault file that comes from elsewhere than
// the vault, such as an old version in git's history. The path is used in errors. As with
// [Vault.Meta] nothing of it is authenticated.
func ReadMeta(path string, text []byte) (Meta, error) {
	s := &sealed{path: path}
	var err error
	if s.age, err = dearmor(text); err == nil {
		err = s.readMeta()
	}
	switch {
	case err != nil:
		return Meta{}, s.damaged(err)
	case s.meta.Version == 0:
		return Meta{}, s.fault(ErrNoMeta, "")
	}
	return s.meta, nil
}

// RecipientsIn returns the recipients in the text of a recipients file from git's history.
// Invalid lines are ignored, since nothing will be encrypted to them.
func RecipientsIn(path string, text []byte) Recipients {
	var rs Recipients
	for r, line := range listed(path, linesOf(text)) {
		if r.parse(line) == nil {
			rs = append(rs, r)
		}
	}
	return rs
}

// ParseFingerprint reads what [Fingerprint.String] writes.
func ParseFingerprint(text string) (f Fingerprint, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(f) || hex.EncodeToString(b) != text {
		return f, fault.New("not the fingerprint of a recipient:", text, "one is 32 hexadecimal digits in lower case",
			"wgkeys check")
	}
	return Fingerprint(b), nil
}

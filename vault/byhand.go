package vault

import (
	"errors"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// A file that stock age made has no metadata until a rekey writes it again. Metadata does
// not prove who made a file, since age takes any recipients that it is given. So a file
// without it has to fulfil the same conditions as one with it: a private key belongs to the
// public key in the keyring, and a preshared key is the same as in the other host's file.

// byHand is the error for a caller that needs the metadata of s, which has none.
func (s *sealed) byHand(host string) error {
	return fault.WrapFile(ErrNoMeta, "not adopted yet: vault file", s.path, "wgkeys rekey "+host)
}

// CompareByHand opens the preshared key in a file without metadata and compares it with
// that in the other host's file. If other is zero there is no such file. If only the other
// host can open its file, the comparison is made there, when that file is rekeyed.
func CompareByHand(v Vault, n, other Name, ids *Identities) error {
	s, err := v.read(n.Host, n.File)
	if err == nil {
		_, err = s.openByHand(v, n.Host, other, ids)
	}
	return err
}

func (s *sealed) openByHand(v Vault, host string, other Name, ids *Identities) (keyring.PresharedKey, error) {
	k, err := s.decryptPSK(v, host, ids)
	if err != nil || other == (Name{}) {
		return k, err
	}
	o, err := v.read(other.Host, other.File)
	if err != nil {
		return keyring.PresharedKey{}, err
	}
	has, err := o.decryptPSK(v, other.Host, ids)
	switch {
	case errors.Is(err, ErrNoIdentity) && v.Sealed(other.Host):
		return k, nil
	case errors.Is(err, ErrNoIdentity):
		return keyring.PresharedKey{}, s.fault(&notCompared{o.path, err},
			"where both open, or the other does: wgkeys rekey "+other.Host)
	case err != nil:
		return keyring.PresharedKey{}, err
	case has.Fingerprint() != k.Fingerprint():
		return keyring.PresharedKey{}, s.fault(&notAlike{other: o.path},
			"git log -- "+words.ForShell(s.path)+" "+words.ForShell(o.path)+
				"; of the two remove the wrong one, then wgkeys rekey "+host)
	}
	return k, nil
}

// notCompared is the error that the other file of a preshared key cannot be opened, because
// of err.
type notCompared struct {
	other string
	err   error
}

func (e *notCompared) Error() string {
	return "it has no metadata, and cannot be compared with " + e.other + ", which no identity of this run opens"
}

func (e *notCompared) Unwrap() error { return e.err }

// notAlike is the error that the two files of one preshared key hold different keys. It is
// an [errMismatch].
type notAlike struct{ other string }

func (e *notAlike) Error() string {
	return errMismatch.Error() + ": it holds another preshared key than " + e.other
}

func (e *notAlike) Is(target error) bool { return target == errMismatch }

package vault

import (
	"bytes"
	"errors"
	"io"

	"filippo.io/age/armor"
)

// dearmor returns the binary age file. It does not return the errors of the armor reader,
// since they quote the file.
func dearmor(text []byte) ([]byte, error) {
	if bytes.HasPrefix(text, []byte("age-encryption.org/")) {
		return text, nil
	}
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte(armor.Header)) {
		return nil, errors.New("it is not an age file")
	}
	b, err := io.ReadAll(armor.NewReader(bytes.NewReader(text)))
	if err != nil {
		return nil, errors.New("its armor is cut short or changed")
	}
	return b, nil
}

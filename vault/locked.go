package vault

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"slices"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"

	"wgkeys/keyring/fault"
)

// A locked identity file is one with a passphrase. The user is asked for it once, when a
// file has to be decrypted that nothing else opens; after a wrong passphrase he is not
// asked again.
type locked struct {
	path   string
	text   []byte        // still encrypted
	public ssh.PublicKey // of an SSH key; nil: an age file
	beside bool          // it is from the file beside it, which may belong to another key
	err    error         // why it stays locked
}

var errPassphrase = errors.New("the passphrase is wrong")

// mayOpen reports whether l may open a file: for an SSH key the header tells; what is in an
// age file is not known.
func (l *locked) mayOpen(stanzas []*age.Stanza) bool {
	if l.public == nil {
		return true
	}
	sum := sha256.Sum256(l.public.Marshal())
	tag := base64.RawStdEncoding.EncodeToString(sum[:4]) // as in age's README.md
	return slices.ContainsFunc(stanzas, func(s *age.Stanza) bool {
		return s.Type == l.public.Type() && len(s.Args) > 0 && s.Args[0] == tag
	})
}

// open asks for the passphrase and returns the identities in the file.
func (l *locked) open(a Asker) (found identityFile, err error) {
	if l.err != nil {
		return found, l.err
	}
	pass, err := askPassphrase(a, l.path)
	if err == nil && l.public != nil {
		found, err = l.openSSH(pass)
	} else if err == nil {
		found, err = l.openAge(pass)
	}
	if errors.Is(err, ErrInterrupted) {
		return found, err
	}
	if err != nil {
		hint := "-i FILE names another one"
		if len(fault.Hints(err)) > 0 {
			hint = "" // its own leads on
		}
		l.err = fault.WrapFile(err, "cannot use the identity file", l.path, hint)
	}
	return found, l.err
}

func (l *locked) openAge(pass string) (found identityFile, err error) {
	id, err := age.NewScryptIdentity(pass)
	if err != nil { // the passphrase must not be empty
		return found, errPassphrase
	}
	r, err := age.Decrypt(bytes.NewReader(l.text), id)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return found, errPassphrase
	}
	if err != nil {
		return found, errors.New("it is cut short or was changed")
	}
	text, err := io.ReadAll(r) // not longer than the file
	defer clear(text)
	if err != nil {
		return found, errors.New("it is cut short or was changed")
	}
	return parsePlain(text)
}

func (l *locked) openSSH(pass string) (found identityFile, err error) {
	key, err := ssh.ParseRawPrivateKeyWithPassphrase(l.text, []byte(pass))
	if err != nil {
		return found, errPassphrase
	}
	var id age.Identity
	switch key := key.(type) {
	case *ed25519.PrivateKey:
		id, err = agessh.NewEd25519Identity(*key)
	case ed25519.PrivateKey: // for PEM files that are not OpenSSH's own
		id, err = agessh.NewEd25519Identity(key)
	case *rsa.PrivateKey:
		id, err = agessh.NewRSAIdentity(key)
	default:
		err = errNoSSH
	}
	if err != nil {
		return found, errNoSSH
	}
	return identityFile{silent: []silent{{Identity: id}}}, nil
}

package vault

import (
	"crypto/sha256"
	"errors"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
)

// A Move renames a vault file: its host, its peer or its tunnel. The name is part of the
// metadata, so the file is opened and sealed again, with the same key.
type Move struct {
	From, To Name
	At       Name   // where it is now: From, or To if somebody has already moved it by hand
	Else     []Name // names, before the move, of other files with the same preshared key

	sealed []byte
	was    [sha256.Size]byte
	done   bool
}

// MetaAs is [Vault.Meta] of the file at the name at, whose metadata says that it was made
// as made.
func (v Vault) MetaAs(at, made Name) (Meta, error) {
	s, err := v.readAs(at, made)
	if err != nil {
		return Meta{}, err
	}
	return s.meta, nil
}

// Prepare seals m again, and writes nothing. Want is the public key in the keyring; for a
// preshared key it is ignored.
func (m *Move) Prepare(v Vault, ids *Identities, want keyring.PublicKey) error {
	if err := checkNames(m.To.Host, m.To.File); err != nil {
		return err
	}
	if m.At != m.To { // done by an earlier, interrupted command?
		if there, err := v.readAs(m.To, m.To); err == nil {
			s, err := v.readAs(m.At, m.From)
			if err == nil && s.meta.Version != 0 && s.meta.PublicKey == there.meta.PublicKey && s.meta.PSK == there.meta.PSK {
				m.done = true
				return nil
			}
			return fault.NewFile("there is a vault file already that is named", there.path, "it holds another key",
				"git log -- "+words.ForShell(there.path))
		}
	} else if _, err := v.readAs(m.To, m.To); err == nil {
		m.done = true
		return nil
	}
	s, err := v.readAs(m.At, m.From)
	if err != nil {
		return err
	}
	if s.meta.Version == 0 {
		return s.byHand(m.At.Host)
	}
	m.was = s.sum
	text, err := m.open(v, s, ids, want)
	if err != nil {
		return err
	}
	defer clear(text)
	rs, labels, err := v.Lists().labelled(m.At.Host)
	if err != nil {
		return err
	}
	meta := s.meta
	meta.Host, meta.File = m.To.Host, installed(m.To.File)
	m.sealed, err = encrypt(meta, text, rs, labels)
	return err
}

// open opens s, or, if that is not possible here, a file with the same preshared key.
func (m *Move) open(v Vault, s *sealed, ids *Identities, want keyring.PublicKey) ([]byte, error) {
	if s.meta.PSK == "" {
		k, err := s.openKey(v, m.At.Host, want, ids)
		if err != nil {
			return nil, err
		}
		return k.File(), nil
	}
	k, err := s.openPSK(v, m.At.Host, s.meta.PSK, ids)
	for _, n := range m.Else {
		if !errors.Is(err, ErrNoIdentity) {
			break
		}
		other, readErr := v.read(n.Host, n.File)
		if readErr != nil || other.meta.PSK != s.meta.PSK {
			continue
		}
		if opened, otherErr := other.openPSK(v, n.Host, s.meta.PSK, ids); otherErr == nil {
			k, err = opened, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return k.File(), nil
}

// Finish writes what was sealed. The old file stays if it has another name: [Move.Left] is
// for when all files are written.
func (m *Move) Finish(v Vault) error {
	if m.done {
		return nil
	}
	path := v.Path(m.To.Host, m.To.File)
	if m.At != m.To {
		if err := files.Create(v.repository(), path, m.sealed, 0o600|v.Shared); err != nil {
			return fault.WrapFile(err, "cannot make vault file", path, "")
		}
		return nil
	}
	s, err := files.NewSwapper(v.repository(), v.Dir)
	if err != nil {
		return fault.WrapFile(err, "cannot open the vault", v.Dir, "")
	}
	defer s.Close()
	if err := s.Replace(path, m.sealed, 0o600|v.Shared, m.was, maxFile); err != nil {
		return fault.WrapFile(err, "cannot replace vault file", path, "")
	}
	return nil
}

// Left is the path of the old file, which has to be removed, or "".
func (m *Move) Left(v Vault) string {
	if m.At == m.To {
		return ""
	}
	return v.Path(m.At.Host, m.At.File)
}

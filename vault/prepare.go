package vault

import (
	"errors"

	"filippo.io/age"
)

// Prepare opens the headers of many vault files at once if that takes an age plugin: one
// conversation with its program, and one touch if the hardware key allows that. Without it
// there is one for each file. Errors are reported when the file itself is opened. Files
// that other identities open need no plugin.
func (i *Identities) Prepare(v Vault, names []Name) error {
	if len(names) == 0 {
		return nil
	}
	if err := i.use(); err != nil {
		return err
	}
	var left [][]*age.Stanza
	for _, n := range names {
		if !i.mayAskPlugins() {
			return nil
		}
		s, err := v.read(n.Host, n.File)
		if err != nil {
			continue
		}
		var header stanzaReader
		header.read(s.age)
		if _, err := i.unwrapHere(header.stanzas); errors.Is(err, ErrInterrupted) {
			return err
		} else if leavesOthers(err) {
			left = append(left, header.stanzas)
		}
	}
	i.talk.Lock()
	defer i.talk.Unlock()
	return i.askPlugins(left)
}

// MayOpen reports whether one of the identities may open a vault file. It starts no plugin,
// so it is true if one may have an identity, and also if the file cannot be read, which is
// reported elsewhere.
func (i *Identities) MayOpen(v Vault, n Name) bool {
	s, err := v.read(n.Host, n.File)
	if err != nil || i.MayAsk() {
		return true
	}
	var header stanzaReader
	header.read(s.age)
	key, err := i.unwrapHere(header.stanzas)
	clear(key)
	return err == nil
}

package vault

import (
	"errors"

	"filippo.io/age"
)

// Prepare opens the headers of many vault files at once as far as that takes an
// age plugin: one conversation with its program, and one touch if that is the
// way of the hardware key. Without it there is one for each file. What cannot be
// opened here is told when the file is. It needs no plugin for files that other
// identities open.
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

// MayOpen tells whether one of the identities may open a vault file. Nobody is
// asked: of who would have to be it is not known. Nor is it of a file that cannot
// be read, which is told elsewhere.
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

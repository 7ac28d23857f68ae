package vault

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"

	"filippo.io/age"

	"wgkeys/keyring/fault"
	"wgkeys/vault/ageplugin"
)

// A pluginIdentity is in the keeping of the age plugin called name, of whose
// identity file it is a line.
type pluginIdentity struct{ name, line string }

// opened is what the plugins made of a file. It is kept, also where it is an
// error, so that nobody has to touch a hardware key twice for a file in a run.
type opened struct {
	key []byte
	err error
}

// Unwrap implements [age.Identity] over all identities that were found. One that
// cannot be used, under a passphrase or of a plugin, is no reason not to try the
// others; what kept it from being used is told if they do not open the file either.
func (i *Identities) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	key, locked := i.unwrapHere(stanzas)
	if !leavesOthers(locked) {
		return key, locked
	}
	i.talk.Lock()
	defer i.talk.Unlock()
	if _, ok := i.openedBefore(stanzas); !ok {
		i.askPlugins([][]*age.Stanza{stanzas})
	}
	o, _ := i.openedBefore(stanzas)
	if o.key != nil {
		return bytes.Clone(o.key), nil
	}
	return nil, both(locked, o.err)
}

// leavesOthers tells whether a file may be another identity's: none was right, or one
// cannot be used.
func leavesOthers(err error) bool {
	_, unusable := errors.AsType[*fault.Fault](err)
	return (unusable || errors.Is(err, age.ErrIncorrectIdentity)) && !errors.Is(err, ErrInterrupted)
}

// both joins what was wrong with two identities: that one was not right says nothing.
func both(a, b error) error {
	switch {
	case errors.Is(a, age.ErrIncorrectIdentity):
		return b
	case errors.Is(b, age.ErrIncorrectIdentity):
		return a
	}
	return errors.Join(a, b)
}

// MayAsk tells whether opening a file may take a hardware key, so that
// [Identities.Prepare] is worth its while. What is wrong with an identity file is
// told when it is needed.
func (i *Identities) MayAsk() bool {
	i.load()
	return i.mayAskPlugins()
}

// mayAskPlugins tells whether there is a plugin's identity. One may be in a file
// under a passphrase.
func (i *Identities) mayAskPlugins() bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return len(i.found.plugins)+len(i.found.locked) > 0
}

// unwrapHere opens a file without any plugin, and asks for a passphrase if that
// may help.
func (i *Identities) unwrapHere(stanzas []*age.Stanza) ([]byte, error) {
	if o, ok := i.openedBefore(stanzas); ok && o.err == nil {
		return bytes.Clone(o.key), nil
	}
	tried := 0
	for {
		i.mu.RLock()
		silent := i.found.silent[tried:]
		i.mu.RUnlock()
		for _, id := range silent {
			if key, err := id.Unwrap(stanzas); !errors.Is(err, age.ErrIncorrectIdentity) {
				return key, err
			}
		}
		tried += len(silent)
		if more, err := i.unlock(stanzas, tried); !more {
			return nil, cmp.Or(err, age.ErrIncorrectIdentity)
		}
	}
}

// unlock asks for the passphrase of an identity file that may open a file, when
// as many silent identities as were tried do not. It returns false if nothing is
// left to try, and what keeps files locked that may have helped.
func (i *Identities) unlock(stanzas []*age.Stanza, tried int) (more bool, err error) {
	i.talk.Lock()
	defer i.talk.Unlock()
	if len(i.found.silent) > tried { // another goroutine was here
		return true, nil
	}
	var errs []error
	for n, l := range i.found.locked {
		if !l.mayOpen(stanzas) {
			continue
		}
		found, err := l.open(i.Asker)
		if errors.Is(err, ErrInterrupted) {
			return false, err
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		i.found.locked = append(i.found.locked[:n:n], i.found.locked[n+1:]...)
		i.found.add(found)
		return true, nil
	}
	return false, errors.Join(errs...)
}

// askPlugins has each plugin in turn open what those before it did not, and
// keeps what came of it. It fails only if the person ended the run. i.talk is held.
func (i *Identities) askPlugins(files [][]*age.Stanza) (ended error) {
	names, lines := i.byPlugin()
	results := make([]opened, len(files))
	for n := range results {
		results[n].err = age.ErrIncorrectIdentity
	}
	for _, name := range names {
		if err := i.askPlugin(name, lines[name], files, results); errors.Is(err, ErrInterrupted) {
			ended = err
			break
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, stanzas := range files {
		i.opened[digest(stanzas)] = results[n]
	}
	return ended
}

func (i *Identities) byPlugin() (names []string, lines map[string][]string) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	lines = map[string][]string{}
	for _, p := range i.found.plugins {
		if lines[p.name] == nil {
			names = append(names, p.name)
		}
		lines[p.name] = append(lines[p.name], p.line)
	}
	return names, lines
}

// askPlugin has one plugin open those of files that are not open yet.
func (i *Identities) askPlugin(name string, lines []string, files [][]*age.Stanza, results []opened) error {
	var left []int
	var ask [][]*age.Stanza
	for n := range files {
		if results[n].key == nil {
			left, ask = append(left, n), append(ask, files[n])
		}
	}
	if len(ask) == 0 {
		return nil
	}
	if len(ask) > 1 && i.Asker != nil {
		i.Asker.Tell(fmt.Sprintf("%s is asked to open %d files at once: one touch if your hardware key allows it, else %[2]d",
			ageplugin.Program(name), len(ask)))
	}
	keys, errs, err := client(i.Asker).UnwrapAll(name, lines, ask)
	for k, n := range left {
		switch {
		case keys[k] != nil:
			results[n] = opened{key: keys[k]}
		case err != nil:
			results[n].err = both(results[n].err, err)
		case errs[k] != nil:
			results[n].err = both(results[n].err, errs[k])
		}
	}
	return err
}

func (i *Identities) openedBefore(stanzas []*age.Stanza) (opened, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if len(i.opened) == 0 { // as in every run without a plugin
		return opened{}, false
	}
	o, ok := i.opened[digest(stanzas)]
	return o, ok
}

// digest names a file by the stanzas of its header.
func digest(stanzas []*age.Stanza) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, s := range stanzas {
		fmt.Fprintf(h, "%q %q %x\n", s.Type, s.Args, s.Body)
	}
	return [sha256.Size]byte(h.Sum(sum[:0]))
}

// A stanzaReader is an identity that opens nothing and keeps the stanzas that
// age hands to it, which spares us a parser of our own.
type stanzaReader struct{ stanzas []*age.Stanza }

// Unwrap implements [age.Identity].
func (r *stanzaReader) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	r.stanzas = stanzas
	return nil, age.ErrIncorrectIdentity
}

// read fails, with an [age.NoIdentityMatchError] if the header is whole.
func (r *stanzaReader) read(file []byte) error {
	_, err := age.Decrypt(bytes.NewReader(file), r)
	return err
}

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

// A pluginIdentity belongs to the age plugin called name; it is a line of an identity file.
type pluginIdentity struct{ name, line string }

// opened is the result of the plugins for a file. It is kept, even if it is an error, so
// that a hardware key needs no second touch for a file in a run.
type opened struct {
	key []byte
	err error
}

// Unwrap implements [age.Identity] over all identities that were found. If one with a
// passphrase or of a plugin cannot be used, the others are tried all the same; the reason
// is returned if they do not open the file either.
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

// leavesOthers reports whether another identity may still open a file: none matched so far,
// or one could not be used.
func leavesOthers(err error) bool {
	_, unusable := errors.AsType[*fault.Fault](err)
	return (unusable || errors.Is(err, age.ErrIncorrectIdentity)) && !errors.Is(err, ErrInterrupted)
}

// both joins the errors of two identities; that one did not match is no information.
func both(a, b error) error {
	switch {
	case errors.Is(a, age.ErrIncorrectIdentity):
		return b
	case errors.Is(b, age.ErrIncorrectIdentity):
		return a
	}
	return errors.Join(a, b)
}

// MayAsk reports whether opening a file may need a hardware key, so that it is worth
// calling [Identities.Prepare]. Errors in identity files are reported when they are needed.
func (i *Identities) MayAsk() bool {
	i.load()
	return i.mayAskPlugins()
}

// mayAskPlugins reports whether there is a plugin's identity. There may be one in a file
// with a passphrase.
func (i *Identities) mayAskPlugins() bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return len(i.found.plugins)+len(i.found.locked) > 0
}

// unwrapHere opens a file without plugins, and asks for a passphrase if that may help.
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

// unlock asks for the passphrase of an identity file that may open a file, after the silent
// identities did not. It returns false if none is left to try, with the errors of those
// that stay locked.
func (i *Identities) unlock(stanzas []*age.Stanza, tried int) (more bool, err error) {
	i.talk.Lock()
	defer i.talk.Unlock()
	if len(i.found.silent) > tried { // another goroutine has unlocked one
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

// askPlugins makes each plugin in turn open what those before it did not, and keeps the
// results. It fails only if the user has ended the run. The caller holds i.talk.
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

// askPlugin makes one plugin open those of files that are not open yet.
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
	if len(i.opened) == 0 { // as in a run without plugins
		return opened{}, false
	}
	o, ok := i.opened[digest(stanzas)]
	return o, ok
}

// digest identifies a file by the stanzas of its header.
func digest(stanzas []*age.Stanza) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, s := range stanzas {
		fmt.Fprintf(h, "%q %q %x\n", s.Type, s.Args, s.Body)
	}
	return [sha256.Size]byte(h.Sum(sum[:0]))
}

// A stanzaReader is an identity that opens nothing and keeps the stanzas that age passes to
// it, so no parser of our own is needed.
type stanzaReader struct{ stanzas []*age.Stanza }

// Unwrap implements [age.Identity].
func (r *stanzaReader) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	r.stanzas = stanzas
	return nil, age.ErrIncorrectIdentity
}

// read fails, with an [age.NoIdentityMatchError] if the header is intact.
func (r *stanzaReader) read(file []byte) error {
	_, err := age.Decrypt(bytes.NewReader(file), r)
	return err
}

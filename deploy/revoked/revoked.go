// Package revoked remembers on a host which public keys were replaced, so that a view
// or a push from a clone that is behind does not bring one of them back.
//
// The list is a file of lines, each a public key and the one that took its place, or a
// public key alone: that one was stolen, and nothing says that it may be used again. It
// holds no secret. It is only ever added to: which old views there are in which clones
// nobody knows.
package revoked

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// dirs are the folders that may hold the list, the first choice first: as for the view
// that is kept for the next boot, /etc may be read-only.
var dirs = []string{"/etc/wgkeys", "/var/lib/wgkeys", "/run/wgkeys"}

const name = "revoked"

// mostBytes are those of some 90,000 keys. What is older than that goes first, but for
// keys that were stolen.
const mostBytes = 8 << 20

// A List is what a host remembers.
type List struct {
	by     map[keyring.PublicKey]keyring.PublicKey // what took its place; zero: nothing
	stolen map[keyring.PublicKey]bool
}

// Read reads the list. Where there is none it is empty.
func Read() (List, error) {
	l := List{by: map[keyring.PublicKey]keyring.PublicKey{}, stolen: map[keyring.PublicKey]bool{}}
	for _, dir := range dirs {
		text, err := read(filepath.Join(dir, name))
		if err != nil {
			return l, err
		}
		for line := range bytes.Lines(text) {
			l.add(line)
		}
	}
	return l, nil
}

func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // of a FIFO nobody waits for the writer
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read the list of replaced keys", path, "ls -l "+path)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 2*mostBytes))
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read the list of replaced keys", path, "ls -l "+path)
	}
	return text, nil
}

// add passes over a line that a loss of power cut short.
func (l *List) add(line []byte) {
	fields := bytes.Fields(line)
	if len(fields) == 0 || len(fields) > 2 || !bytes.HasSuffix(line, []byte("\n")) {
		return
	}
	old, err := keyring.ParsePublicKey(fields[0])
	if err != nil {
		return
	}
	if len(fields) == 1 {
		l.stolen[old] = true
		return
	}
	if next, err := keyring.ParsePublicKey(fields[1]); err == nil && next != old {
		l.by[old] = next
	}
}

// Empty reports whether no key was ever replaced.
func (l List) Empty() bool { return len(l.by)+len(l.stolen) == 0 }

// Stolen reports whether a key was revoked for good.
func (l List) Stolen(key keyring.PublicKey) bool { return l.stolen[key] }

// By returns the key that took the place of key in the end, and whether one did. Where
// keys took each other's place in a circle, as two hosts that have swapped theirs do, none
// of them was replaced, and the first that one comes to is the end.
func (l List) By(key keyring.PublicKey) (last keyring.PublicKey, ok bool) {
	if _, ok := l.by[key]; !ok {
		return key, false
	}
	passed := map[keyring.PublicKey]bool{}
	for last = key; !passed[last]; {
		next, more := l.by[last]
		if !more {
			return last, true
		}
		passed[last] = true
		last = next
	}
	return last, last != key
}

// Add remembers that next has taken the place of old or, where next is zero, that old
// is not to be used again.
func Add(old, next keyring.PublicKey) error {
	l, err := Read()
	if err != nil {
		return err
	}
	line := old.String()
	switch {
	case old.IsZero() || old == next:
		return nil
	case next.IsZero() && l.stolen[old], !next.IsZero() && l.by[old] == next:
		return nil
	case !next.IsZero():
		line += " " + next.String()
	}
	for _, dir := range dirs {
		failed := appendLine(filepath.Join(dir, name), line)
		if failed == nil {
			return nil
		}
		if err == nil {
			err = failed
		}
	}
	return err
}

// appendLine begins a line of its own where the one before was cut short.
func appendLine(path, line string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot make the folder", filepath.Dir(path), "")
	}
	if err := trim(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write the list of replaced keys", path, "")
	}
	last := []byte{'\n'}
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		f.ReadAt(last, info.Size()-1)
	}
	if last[0] != '\n' {
		line = "\n" + line
	}
	_, err = f.WriteString(line + "\n")
	err = errors.Join(err, f.Sync(), f.Close(), files.Sync(filepath.Dir(path)))
	if err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write the list of replaced keys", path, "df "+filepath.Dir(path))
	}
	return nil
}

// trim takes the older half away of a list that has grown too long, but for keys that
// were stolen.
func trim(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() < mostBytes {
		return nil
	}
	text, err := read(path)
	if err != nil {
		return err
	}
	var kept bytes.Buffer
	for i, line := range bytes.SplitAfter(text, []byte("\n")) {
		if i*90 > len(text)/2 || len(bytes.Fields(line)) == 1 {
			kept.Write(line)
		}
	}
	return rewrite(path, kept.Bytes())
}

func rewrite(path string, text []byte) error {
	if err := files.Replace(path, bytes.NewReader(text), files.Replacement{Mode: 0o644}); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write the list of replaced keys", path, "df "+filepath.Dir(path))
	}
	return nil
}

// Allow takes keys from the list that were replaced, for somebody who knows better.
// What was stolen stays.
func Allow(keys ...keyring.PublicKey) error {
	drop := map[string]bool{}
	for _, k := range keys {
		drop[k.String()] = true
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		text, err := read(path)
		if err != nil {
			return err
		}
		var kept strings.Builder
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) != 2 || !drop[f[0]] {
				kept.WriteString(line)
			}
		}
		if kept.Len() == len(text) {
			continue
		}
		if err := rewrite(path, []byte(kept.String())); err != nil {
			return err
		}
	}
	return nil
}

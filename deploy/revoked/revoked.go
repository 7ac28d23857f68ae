// Package revoked is a host's list of replaced public keys, so that a view or a push from a
// clone that is behind does not bring one of them back.
//
// The list is a text file, /etc/wgkeys/revoked. A line has a public key and its successor,
// or a public key alone, which was stolen and must never be used again. The list holds no
// secret. A rotation only adds to it, because nobody knows which old views are still in
// which clones; [Allow] removes keys that the user declares right.
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

// dirs are the folders that may hold the list, in order of preference, as for the view that
// is kept for the next boot: /etc may be read-only.
var dirs = []string{"/etc/wgkeys", "/var/lib/wgkeys", "/run/wgkeys"}

const name = "revoked"

// mostBytes is the size at which the older half of the list is removed, except for stolen
// keys: that of some 90,000 keys.
const mostBytes = 8 << 20

// A List is the replaced keys that a host knows.
type List struct {
	by     map[keyring.PublicKey]keyring.PublicKey // the successor of each
	stolen map[keyring.PublicKey]bool
}

// Read reads the list of this host. It is empty if there is no file.
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
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a FIFO would wait for its writer
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

// add adds a line, and ignores one that a power failure has cut short.
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

// Empty reports whether the list has no key.
func (l List) Empty() bool { return len(l.by)+len(l.stolen) == 0 }

// Stolen reports whether a key was revoked for good.
func (l List) Stolen(key keyring.PublicKey) bool { return l.stolen[key] }

// By returns the last successor of a key, and whether it has one. If keys have replaced each
// other in a circle, as after two hosts have swapped theirs, a key of the circle counts as
// not replaced, and a chain that leads into the circle ends at the first key of it.
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

// Add records that next has replaced old or, if next is zero, that old was stolen. It does
// nothing if the list says so already.
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

// appendLine appends a line. If the last one was cut short, it ends that one first.
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

// trim removes the older half of a list that has grown too long, except for stolen keys.
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

// Allow removes replaced keys from the list: the user has said that they are right. Stolen
// keys stay.
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

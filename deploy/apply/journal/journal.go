// Package journal has the files of a host from which its tunnels are undone, below
// /run/wgkeys: for each tunnel its journal, which records what was touched and its previous
// value, and the apply that waits to be confirmed; and the lock of them all. It knows no
// kernel and no plan.
package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"wgkeys/keyring/fault"
)

// header begins every journal file; its number is the format's version.
const header = "wgkeys journal 1"

// A Journal remembers, for one tunnel, what apply touched and how it was. It is
// a text file, /run/wgkeys/TUNNEL.journal of mode 0600, with one line an event:
//
//   - TAB resource TAB was TAB set     about to be touched
//   - TAB resource                     as it was before
//
// A line is appended before its thing is touched, and cancelled by a later line after the
// thing is restored. If the last line has no newline, the host lost power while it was
// written, and it is ignored: the thing was not touched.
type Journal struct {
	Entries
	Order []Resource   // by first touch
	older Entries      // the value that we gave a parameter before its last entry: a crash may have left it
	lines bytes.Buffer // of what [Journal.Save] has to write
	path  string
	whole int64 // size of the file's complete lines
}

// Path is the journal file of a tunnel.
func Path(dir, tunnel string) string { return filepath.Join(dir, tunnel+".journal") }

// Open reads the journal of a tunnel in dir. If there is none it is empty; the file is made
// with the first entry. For a damaged journal it returns what can be read, and an error.
func Open(dir, tunnel string) (*Journal, error) {
	j := &Journal{Entries: Entries{}, path: Path(dir, tunnel)}
	text, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read the journal", j.path, hintFile(err, j.path))
	}
	return j, j.parse(text)
}

func (j *Journal) parse(text []byte) error {
	end := bytes.LastIndexByte(text, '\n')
	j.whole = int64(end + 1)
	// Nobody changes the text, and a copy would take as long as parsing it.
	first, rest, _ := strings.Cut(unsafe.String(unsafe.SliceData(text), end+1), "\n")
	if first == "" {
		return nil // died before the header was written
	}
	if first != header {
		return fault.NewFile("cannot read the journal", j.path, "it is of another version of wgkeys",
			"use the version of wgkeys that applied the tunnel to take it down")
	}
	// Each thing has one line that counts, and before it perhaps an unsure one.
	things := strings.Count(rest, "\n") - strings.Count(rest, "\t"+Unsure+"\n")
	j.Entries, j.Order = make(Entries, things), make([]Resource, 0, things)
	damaged := false
	for line := range strings.Lines(rest) {
		line = line[:len(line)-1]
		damaged = line != "" && !j.parseLine(line) || damaged
	}
	j.Order = live(j.Order, j.Entries)
	if damaged {
		return fault.NewFile("cannot read the journal", j.path, "it is damaged", j.hintDamaged())
	}
	return nil
}

// hintDamaged is the remedy if the previous state is not known.
func (j *Journal) hintDamaged() string {
	name := strings.TrimSuffix(filepath.Base(j.path), ".journal")
	return "a reboot clears it; without one: ip link del " + name + " && rm " + j.path +
		", and put back by hand what else the tunnel changed (ip rule; nft list tables; sysctl)"
}

// parseLine reports whether line is a valid event.
func (j *Journal) parseLine(line string) bool {
	kind, rest, _ := strings.Cut(line, "\t")
	resource, values, changed := strings.Cut(rest, "\t")
	switch {
	case kind == "-" && rest != "" && !changed:
		delete(j.Entries, parseResource(resource))
		return true
	case kind != "+" || !changed:
		return false
	}
	was, set, ok := strings.Cut(values, "\t")
	if ok = ok && strings.IndexByte(set, '\t') < 0; ok {
		j.touch(parseResource(resource), Entry{was, set})
	}
	return ok
}

func (j *Journal) touch(resource Resource, e Entry) {
	if resource.Kind == Sysctl { // others are not asked for, and there are many
		if old, ok := j.Entries[resource]; ok && old != e {
			if j.older == nil {
				j.older = Entries{}
			}
			j.older[resource] = old
		}
	}
	before := len(j.Entries)
	if j.Entries[resource] = e; len(j.Entries) > before {
		j.Order = append(j.Order, resource)
	}
}

// live returns those of order that are in entries, each once, at its last place.
func live(order []Resource, entries Entries) []Resource {
	for len(order) > 0 && !entries.Has(order[len(order)-1]) {
		order = order[:len(order)-1] // the common case: last in, first out
	}
	if len(order) == len(entries) {
		return order
	}
	seen := make(map[Resource]bool, len(entries))
	var kept []Resource
	for i := len(order) - 1; i >= 0; i-- {
		if _, ok := entries[order[i]]; ok && !seen[order[i]] {
			seen[order[i]] = true
			kept = append(kept, order[i])
		}
	}
	for i, k := 0, len(kept)-1; i < k; i, k = i+1, k-1 {
		kept[i], kept[k] = kept[k], kept[i]
	}
	return kept
}

// Previous returns the entry that a kernel parameter had before its last one, if any.
func (j *Journal) Previous(r Resource) (Entry, bool) { e, ok := j.older[r]; return e, ok }

// Set records that a thing is about to be touched, see [Journal.Save]. An unchanged entry
// is not written again.
func (j *Journal) Set(r Resource, e Entry) {
	if old, ok := j.Entries[r]; !ok || old != e {
		j.touch(r, e)
		j.lines.WriteString("+\t" + r.String() + "\t" + e.Was + "\t" + e.Set + "\n")
	}
}

// Delete records that a thing is as it was before us, see [Journal.Save].
func (j *Journal) Delete(r Resource) {
	delete(j.Entries, r)
	j.lines.WriteString("-\t" + r.String() + "\n")
}

// Save writes what [Journal.Set] and [Journal.Delete] have recorded since the last call, in
// one write. If that fails, the file lacks it, and the journal in memory has it.
func (j *Journal) Save() error {
	defer j.lines.Reset()
	j.Order = live(j.Order, j.Entries)
	return j.append(j.lines.Bytes())
}

// Rename changes the name of a thing in the journal from from to to: it is the same thing,
// whoever renamed it. If the journal does not have it, nothing happens.
func (j *Journal) Rename(from, to Resource) error {
	e, ok := j.Entries[from]
	if !ok || from == to {
		return nil
	}
	if !j.Entries.Has(to) { // otherwise it was touched under its new name already
		j.Set(to, e)
	}
	j.Delete(from)
	return j.Save()
}

// append adds complete lines with one write(2), which a kill -9 does not split but a full
// disk does: the next append removes a partial line.
func (j *Journal) append(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	if j.whole == 0 {
		lines = append([]byte(header+"\n"), lines...)
	}
	if err := os.MkdirAll(filepath.Dir(j.path), 0o755); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot make the folder", filepath.Dir(j.path),
			hintFile(err, filepath.Dir(j.path)))
	}
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = writeAfter(f, j.whole, lines)
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		j.whole += int64(len(lines))
	}
	if err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write the journal", j.path, hintFile(err, j.path))
	}
	return nil
}

func writeAfter(f *os.File, size int64, lines []byte) (int, error) {
	if err := f.Truncate(size); err != nil {
		return 0, err
	}
	return f.Write(lines)
}

// Others returns, for each thing in the journals of other tunnels in dir, the value it had
// before any of them: a sysctl that another tunnel needs stays.
//
// A damaged journal is an error of its own tunnel only: here it counts as far as it can be
// read, and damaged says what may follow.
func Others(dir, tunnel string) (others Entries, damaged []error, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil {
		return nil, nil, err
	}
	others = Entries{}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".journal")
		if name == tunnel {
			continue
		}
		j, err := Open(dir, name)
		if j == nil {
			return nil, nil, err
		}
		if err != nil {
			damaged = append(damaged, fmt.Errorf("%w; %s may need what %s puts back", err, name, tunnel))
		}
		maps.Copy(others, j.Entries)
	}
	return others, damaged, nil
}

// End removes the journal when nothing of ours is left.
func (j *Journal) End() error {
	clear(j.Entries)
	j.lines.Reset()
	j.Order, j.whole = nil, 0
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.WrapFile(fault.Errno(err), "cannot remove the journal", j.path, "")
	}
	dir, name := filepath.Dir(j.path), strings.TrimSuffix(filepath.Base(j.path), ".journal")
	for _, beside := range []string{KnownPath(dir, name), NeedsPath(dir, name)} {
		if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.WrapFile(fault.Errno(err), "cannot remove", beside, "")
		}
	}
	return nil
}

// KnownPath is the file beside the journal of a tunnel that records the inputs for which
// its plan was empty. It is useless without the journal, and is removed with it.
func KnownPath(dir, tunnel string) string { return filepath.Join(dir, tunnel+".known") }

// NeedsPath is the file beside it that records who needed which kernel parameter before the
// tunnel set it.
func NeedsPath(dir, tunnel string) string { return filepath.Join(dir, tunnel+".needs") }

package files

import (
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Take reads folders of the repository root, with all that is in them.
func Take(root string, names ...string) *Snapshot {
	s := &Snapshot{root: root}
	t := taker{}
	for _, name := range names {
		path := filepath.Join(root, name)
		s.tops = append(s.tops, path)
		t.folder(here, path, path)
	}
	s.folders = make(map[string]*folder, len(t.done))
	for _, f := range t.done {
		s.folders[f.path] = f
	}
	return s
}

// A taker reads folders one after the other. For ten thousand hosts there are twenty
// thousand folders and as many files, so it makes as few system calls as possible and puts
// what it reads into few pieces of memory.
type taker struct {
	done   []*folder
	helper bool // of another one: it has none itself

	buffer  [8 << 10]byte // for getdents64(2)
	found   []found       // in the folder that is read
	folders slab[folder]
	entries slab[entry]
	lists   slab[fs.DirEntry]
	texts   slab[byte]
	made    slab[atomic.Pointer[any]]
}

// What was found in the current folder.
type found struct {
	name string
	kind fs.FileMode
}

// A slab allocates many things that are kept equally long.
type slab[T any] struct{ free []T }

// take returns room for n things. If fewer than four of them fit in a piece they get a
// piece of their own.
func (s *slab[T]) take(n, piece int) []T {
	if n > piece/4 {
		return make([]T, n)
	}
	if len(s.free) < n {
		s.free = make([]T, piece)
	}
	var room []T
	room, s.free = s.free[:n:n], s.free[n:]
	return room
}

const (
	textPiece  = 128 << 10 // bytes
	entryPiece = 256
)

// folder reads the folder called name in another one, with its content.
func (t *taker) folder(in handle, name, path string) *folder {
	h, err := in.listable(name)
	if err != nil {
		return nil
	}
	defer h.close()
	if err := t.read(h); err != nil {
		return nil
	}
	f := &t.folders.take(1, entryPiece)[0]
	f.path = path
	if is, err := h.status(); err == nil {
		f.mode = is.mode
	}
	f.entries, f.list = t.entries.take(len(t.found), entryPiece), t.lists.take(len(t.found), entryPiece)
	slices.SortFunc(t.found, func(a, b found) int { return strings.Compare(a.name, b.name) })
	t.done = append(t.done, f)
	made := t.made.take(len(f.entries), entryPiece)
	var below []*entry
	for i := range f.entries {
		e := &f.entries[i]
		e.name, e.kind, e.in, e.made, f.list[i] = t.found[i].name, t.found[i].kind, f, &made[i], e
		if e.IsDir() {
			below = append(below, e)
		} else {
			t.see(h, e)
		}
	}
	t.below(h, below)
	return f
}

// many is the number of folders from which on a second goroutine pays off.
const many = 64

// below reads folders in an open one, in parallel if there are many.
func (t *taker) below(in handle, folders []*entry) {
	if t.helper || len(folders) < many {
		for _, e := range folders {
			e.below = t.folder(in, e.name, e.path())
		}
		return
	}
	helpers := make([]taker, runtime.NumCPU()+2) // some wait for the disk
	var next atomic.Int64
	var wait sync.WaitGroup
	for i := range helpers {
		wait.Go(func() {
			h := &helpers[i]
			h.helper = true
			for n := next.Add(1) - 1; n < int64(len(folders)); n = next.Add(1) - 1 {
				folders[n].below = h.folder(in, folders[n].name, folders[n].path())
			}
		})
	}
	wait.Wait()
	for i := range helpers {
		t.done = append(t.done, helpers[i].done...)
	}
}

func (e *entry) path() string { return e.in.path + string(filepath.Separator) + e.name }

// ask asks for the type of an entry, which some file systems do not report: false if the
// entry is gone.
func (e *found) ask(in handle) bool {
	is, err := in.lstat(e.name)
	e.kind = is.mode.Type()
	return err == nil
}

// see reads a file, if it is a regular one and is not large.
func (t *taker) see(dir handle, e *entry) {
	if e.kind.IsRegular() {
		text, is, err := dir.readTo(e.name, maxSeen, func(n int) []byte { return t.texts.take(n, textPiece) })
		if is.mode != 0 && is.mode.IsRegular() {
			e.mode = is.mode
			e.text, e.whole = text, err == nil && text != nil && int64(len(text)) == is.size
		}
	}
	if e.mode == 0 && e.kind&fs.ModeSymlink == 0 {
		if is, err := dir.lstat(e.name); err == nil {
			e.mode = is.mode
		}
	}
}

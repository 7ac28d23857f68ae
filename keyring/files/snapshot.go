package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
)

// maxSeen is the size in bytes up to which a snapshot keeps the text of a file.
const maxSeen = 64 << 10

// A Snapshot is what some folders of a repository held when it was taken: each folder was
// listed once and each file read once. It is for callers with many questions about all of
// them. If it does not know the answer, because a file is large, is a link or could not be
// read, it asks the disk; a nil Snapshot always asks the disk. Several goroutines may share
// it.
type Snapshot struct {
	root    string
	tops    []string
	folders map[string]*folder
}

// A folder is one that was listed.
type folder struct {
	path    string
	mode    fs.FileMode
	entries []entry       // sorted by name
	list    []fs.DirEntry // the same
}

// An entry is a name in a folder. Folders and links have no text.
type entry struct {
	in    *folder
	name  string
	text  []byte
	below *folder              // if it is a folder that was listed
	made  *atomic.Pointer[any] // of the text; see Once
	kind  fs.FileMode          // the type
	mode  fs.FileMode          // 0 if the file system did not report it
	whole bool                 // text is the whole content
}

// Seen is a [fs.DirEntry] of a [Snapshot], which may have its content.
type Seen interface {
	Entries() (entries []fs.DirEntry, known bool) // of a folder
	Text() (text []byte, whole bool)              // of a file
}

func (e *entry) Name() string      { return e.name }
func (e *entry) IsDir() bool       { return e.kind.IsDir() }
func (e *entry) Type() fs.FileMode { return e.kind }

// Text returns what [Snapshot.Text] does.
func (e *entry) Text() (text []byte, ok bool) { return e.text, e.whole }

// Entries returns what [Snapshot.Entries] does.
func (e *entry) Entries() (entries []fs.DirEntry, ok bool) {
	if e.below == nil {
		return nil, false
	}
	return e.below.list, true
}

// Info implements [fs.DirEntry].
func (e *entry) Info() (fs.FileInfo, error) { return os.Lstat(filepath.Join(e.in.path, e.name)) }

// Forget frees the memory of a file's text. Nobody else may use the snapshot meanwhile.
func (s *Snapshot) Forget(path string) {
	if at, _ := s.find(path); at != nil {
		at.text, at.whole = nil, false
	}
}

// Wipe overwrites the texts of all files: one may have held a secret in the clear.
func (s *Snapshot) Wipe() {
	for _, f := range s.folders {
		for i := range f.entries {
			clear(f.entries[i].text)
		}
	}
	clear(s.folders)
}

// A Place is where [Snapshot.Walk] is. It makes a path only when asked, since there are ten
// thousand hosts.
type Place struct {
	Folder string
	Name   string // in it, or "" for the folder itself
}

// Path returns the path of what is there.
func (p Place) Path() string {
	if p.Name == "" {
		return p.Folder
	}
	return p.Folder + string(filepath.Separator) + p.Name
}

// Walk calls do for every folder of the snapshot, before its entries, and for each entry,
// sorted by name. Links are left out.
func (s *Snapshot) Walk(do func(at Place, mode fs.FileMode)) {
	for _, top := range s.tops {
		if info, err := os.Lstat(top); err == nil && info.Mode()&fs.ModeSymlink == 0 {
			do(Place{Folder: top}, info.Mode())
			if f := s.folders[top]; f != nil {
				f.walk(do)
			}
		}
	}
}

func (f *folder) walk(do func(at Place, mode fs.FileMode)) {
	for i := range f.entries {
		e := &f.entries[i]
		if e.kind&fs.ModeSymlink != 0 {
			continue
		}
		if e.below == nil {
			do(Place{f.path, e.name}, e.mode)
			continue
		}
		do(Place{Folder: e.below.path}, e.below.mode)
		e.below.walk(do)
	}
}

// find returns the entry at path: nil if there is none. The second result is false below a
// link and outside the folders that were read, where the snapshot knows nothing.
func (s *Snapshot) find(path string) (at *entry, known bool) {
	if s == nil || len(path) <= len(s.root) {
		return nil, false
	}
	dir, name := filepath.Split(path)
	if name != "" && len(dir) > 1 {
		dir = dir[:len(dir)-1]
	}
	f := s.folders[dir]
	if f == nil {
		dir = filepath.Clean(dir)
		f = s.folders[dir]
	}
	if f == nil {
		at, known := s.find(dir)
		return nil, known && at == nil
	}
	return f.find(name), true
}

// inFolder is [Snapshot.find] of dir/folder/name, as [Below] joins them, without making the
// path if the folder was read.
func (s *Snapshot) inFolder(dir, folder, name string) (at *entry, known bool) {
	if s == nil {
		return nil, false
	}
	if f := s.folderIn(dir, folder); f != nil && isName(name) {
		return f.find(name), true
	}
	return s.find(Below(dir, folder, name))
}

// folderIn is a folder of dir that was read, or nil.
func (s *Snapshot) folderIn(dir, folder string) *folder {
	var room [256]byte
	path := append(append(append(room[:0], dir...), filepath.Separator), folder...)
	return s.folders[string(path)]
}

// isName reports whether a path is a single name, without a folder.
func isName(path string) bool {
	return path != "" && path != "." && path != ".." && strings.IndexByte(path, filepath.Separator) < 0
}

// find returns the entry with this name in the folder: nil if there is none.
func (f *folder) find(name string) *entry {
	byName := func(e entry, name string) int { return strings.Compare(e.name, name) }
	i, ok := slices.BinarySearchFunc(f.entries, name, byName)
	if !ok {
		return nil
	}
	return &f.entries[i]
}

// Read returns the content of a file as [Read] does. The caller may change it.
func (s *Snapshot) Read(root, path string, limit int64) ([]byte, error) {
	at, known := s.find(path)
	switch {
	case known && at == nil:
		return nil, syscall.ENOENT
	case known && at.whole && int64(len(at.text)) <= limit:
		return slices.Clone(at.text), nil
	}
	return Read(root, path, limit)
}

// List returns the entries of a folder as [List] does.
func (s *Snapshot) List(root, path string) ([]fs.DirEntry, error) {
	if entries, ok := s.Entries(path); ok {
		return entries, nil
	}
	if at, known := s.find(path); known && at == nil {
		return nil, syscall.ENOENT
	}
	return List(root, path)
}

// ListIn is [Snapshot.List] of a folder of dir, without making its path if it was read.
func (s *Snapshot) ListIn(root, dir, folder string) ([]fs.DirEntry, error) {
	if s != nil {
		if f := s.folderIn(dir, folder); f != nil {
			return f.list, nil
		}
	}
	return s.List(root, filepath.Join(dir, folder))
}

// Entries returns those of a folder, if the snapshot has them.
func (s *Snapshot) Entries(path string) (entries []fs.DirEntry, ok bool) {
	if s == nil || s.folders[path] == nil {
		return nil, false
	}
	return s.folders[path].list, true
}

// Text returns the whole content of a file, if the snapshot has it. The caller must not
// change it.
func (s *Snapshot) Text(path string) (text []byte, ok bool) {
	if at, _ := s.find(path); at != nil && at.whole {
		return at.text, true
	}
	return nil, false
}

// Lacks reports whether the snapshot knows that a name does not exist in a folder of dir.
func (s *Snapshot) Lacks(dir, folder, name string) bool {
	at, known := s.inFolder(dir, folder, name)
	return known && at == nil
}

// Once returns the result of parse for the text of a file in a folder of dir, if the
// snapshot has the text and parse accepts it. The result is kept, and every caller gets the
// same one.
func (s *Snapshot) Once(dir, folder, name string, parse func(text []byte) (made any, ok bool)) (made any, ok bool) {
	at, _ := s.inFolder(dir, folder, name)
	if at == nil || !at.whole {
		return nil, false
	}
	if before := at.made.Load(); before != nil {
		return *before, true
	}
	if made, ok = parse(at.text); ok {
		at.made.Store(&made)
	}
	return made, ok
}

// Exists reports whether anything is at path, even a dangling link.
func (s *Snapshot) Exists(path string) bool {
	if at, known := s.find(path); known {
		return at != nil
	}
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

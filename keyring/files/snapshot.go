package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSeen is the size of a file of which a snapshot keeps the text, in bytes.
const maxSeen = 64 << 10

// A Snapshot is what some folders of a repository held when it was taken: each
// folder was listed once and each file read once. It is for who has many
// questions about all of them. Where it does not know the answer, since a file is
// large, is a link or could not be read, it asks the disk, and so does a nil
// Snapshot for all. Several goroutines may share it.
type Snapshot struct {
	root    string
	tops    []string
	mu      sync.Mutex // while it is taken
	folders map[string]*folder
}

// A folder is one that could be listed.
type folder struct {
	mode    fs.FileMode
	entries []fs.DirEntry // sorted by name
	files   []file        // of each entry; of a folder and a link there is nothing in it
}

type file struct {
	mode  fs.FileMode // 0 if it could not be told
	text  []byte
	whole bool // text is all that is in the file
}

// Take reads folders of the repository root, with all that is in them.
func Take(root string, names ...string) *Snapshot {
	s := &Snapshot{root: root, folders: map[string]*folder{}}
	w := walk{Snapshot: s, more: make(chan struct{}, 2*runtime.NumCPU())}
	for _, name := range names {
		s.tops = append(s.tops, filepath.Join(root, name))
		w.folder(filepath.Join(root, name))
	}
	w.wait.Wait()
	return s
}

type walk struct {
	*Snapshot
	more chan struct{} // room for another goroutine
	wait sync.WaitGroup
}

// folder reads a folder, and the folders in it beside it while there is room.
func (w *walk) folder(path string) {
	fd, err := retryEINTRInt(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return
	}
	d := os.NewFile(uintptr(fd), path)
	defer d.Close()
	f := new(folder)
	if f.entries, err = d.ReadDir(-1); err != nil {
		return
	}
	var info unix.Stat_t
	if unix.Fstat(fd, &info) == nil {
		f.mode = fileMode(info.Mode)
	}
	sortEntries(f.entries)
	f.files = make([]file, len(f.entries))
	w.mu.Lock()
	w.folders[path] = f
	w.mu.Unlock()
	for i, e := range f.entries {
		if !e.IsDir() {
			f.files[i].see(handle{fd: fd}, e)
			continue
		}
		name := filepath.Join(path, e.Name())
		select {
		case w.more <- struct{}{}:
			w.wait.Go(func() {
				w.folder(name)
				<-w.more
			})
		default:
			w.folder(name)
		}
	}
}

// see reads a file, if it is one and is not large.
func (f *file) see(dir handle, e fs.DirEntry) {
	if e.Type().IsRegular() {
		text, info, err := dir.read(e.Name(), maxSeen)
		if info.Mode&unix.S_IFMT == unix.S_IFREG {
			f.mode = fileMode(info.Mode)
			f.text, f.whole = text, err == nil && text != nil && int64(len(text)) == info.Size
		}
	}
	if f.mode == 0 && e.Type()&fs.ModeSymlink == 0 {
		if info, err := e.Info(); err == nil {
			f.mode = info.Mode()
		}
	}
}

// Forget gives back the memory that the text of a file takes. Nobody else may use the
// snapshot meanwhile.
func (s *Snapshot) Forget(path string) {
	if at, _ := s.find(path); at != nil {
		at.text, at.whole = nil, false
	}
}

// Wipe forgets what was in the files: a secret in the clear may have been.
func (s *Snapshot) Wipe() {
	for _, f := range s.folders {
		for _, file := range f.files {
			clear(file.text)
		}
	}
	clear(s.folders)
}

// Walk calls do for every folder that was to be read, before what is in it, and for all
// that is in it, by name. Links are left out.
func (s *Snapshot) Walk(do func(path string, mode fs.FileMode)) {
	for _, top := range s.tops {
		if info, err := os.Lstat(top); err == nil && info.Mode()&fs.ModeSymlink == 0 {
			do(top, info.Mode())
			s.walk(top, do)
		}
	}
}

func (s *Snapshot) walk(path string, do func(path string, mode fs.FileMode)) {
	f := s.folders[path]
	if f == nil {
		return
	}
	for i, e := range f.entries {
		name := filepath.Join(path, e.Name())
		mode := f.files[i].mode
		if in := s.folders[name]; in != nil {
			mode = in.mode
		}
		if e.Type()&fs.ModeSymlink == 0 {
			do(name, mode)
			s.walk(name, do)
		}
	}
}

// find returns what is at path: nil if there is nothing. It does not know below a
// link and outside the folders that were read.
func (s *Snapshot) find(path string) (at *file, known bool) {
	if s == nil || len(path) <= len(s.root) {
		return nil, false
	}
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	f := s.folders[dir]
	if f == nil {
		at, known := s.find(dir)
		return nil, known && at == nil
	}
	i, ok := slices.BinarySearchFunc(f.entries, name, func(e fs.DirEntry, name string) int {
		return strings.Compare(e.Name(), name)
	})
	if !ok {
		return nil, true
	}
	return &f.files[i], true
}

// Read returns the content of a file as [Read] does. It is the caller's.
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

// Entries returns those of a folder, if the snapshot has them.
func (s *Snapshot) Entries(path string) (entries []fs.DirEntry, ok bool) {
	if s == nil || s.folders[path] == nil {
		return nil, false
	}
	return s.folders[path].entries, true
}

// Text returns the whole content of a file, if the snapshot has it. It is the
// snapshot's.
func (s *Snapshot) Text(path string) (text []byte, ok bool) {
	if at, _ := s.find(path); at != nil && at.whole {
		return at.text, true
	}
	return nil, false
}

// Exists reports whether there is anything at path, be it a link to nowhere.
func (s *Snapshot) Exists(path string) bool {
	if at, known := s.find(path); known {
		return at != nil
	}
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

package files

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
)

// A Batch makes many new files below one folder of a repository, each of them as [Create]
// does: private from birth, whole or not at all, and never over an existing file. All of
// them are synced together, before the first one gets its name and after the last one has
// it: to sync each by itself took a hundred times as long. Several goroutines may add
// files. If the process is killed, temporary files are left, which [Sweep] removes, and
// some files may have their names already.
type Batch struct {
	*Swapper
	rights owns // of top
	slow   bool // each file is synced by itself

	mu    sync.Mutex
	files []newFile
}

// A newFile is one that is written, but does not have its name yet.
type newFile struct{ path, temp string }

// NewBatch begins a batch in the folder at the path top in the repository at root. The
// folder is made if it does not exist.
func NewBatch(root, top string) (*Batch, error) {
	s, err := NewSwapper(root, top)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeFolder(root, top); err == nil {
			s, err = NewSwapper(root, top)
		}
	}
	if err != nil {
		return nil, err
	}
	b := &Batch{Swapper: s, slow: !Flushes(top)}
	if b.rights, err = s.top.owns(); err != nil {
		s.Close()
		return nil, translate(err)
	}
	return b, nil
}

func makeFolder(root, path string) error {
	r, name, err := open(root, path)
	if err != nil {
		return err
	}
	defer r.Close()
	return translate(mkdirAll(r, name, 0o755))
}

// Add writes a file to which [Batch.Commit] gives its name. Its folder is made.
func (b *Batch) Add(path string, text []byte, mode fs.FileMode) error {
	h, in, err := b.make(path, mode)
	if err != nil {
		return translate(err)
	}
	defer h.close()
	f := newFile{path, creating(filepath.Base(path))}
	if err := h.write(f.temp, text, in, mode, b.slow); err != nil {
		return translate(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files = append(b.files, f)
	return nil
}

// make opens the folder of a file, makes it if necessary, and returns the rights of what is
// made in it.
func (b *Batch) make(path string, mode fs.FileMode) (h handle, in owns, err error) {
	dir := filepath.Dir(path)
	if filepath.Dir(dir) == b.name && !b.rights.shared() && mode&0o020 == 0 {
		// A folder made here is ours alone: only one that existed can have other rights.
		if b.top.mkdir(filepath.Base(dir), 0o755) == nil {
			h, err = b.top.folder(filepath.Base(dir))
			return h, ofProcess(), err
		}
	}
	name, err := filepath.Rel(b.dir, dir)
	if err == nil {
		err = mkdirAll(b.root, name, folderFor(mode))
	}
	if err != nil {
		return h, in, err
	}
	if h, err = b.folder(path); err != nil {
		return h, in, err
	}
	if in, err = h.owns(); err != nil {
		h.close()
	}
	return h, in, err
}

// Commit gives the files that were added their names, in the order in which they were
// added, and syncs them. If a file of that name exists it is left as it is, and the error
// is [fs.ErrExist]; the others are made.
func (b *Batch) Commit() error {
	if len(b.files) == 0 {
		return nil
	}
	if !b.slow {
		if err := Flush(b.top.file); err != nil {
			return translate(err)
		}
	}
	var errs []error
	for _, f := range b.files {
		if err := b.rename(f); err != nil {
			errs = append(errs, &fs.PathError{Op: "create", Path: f.path, Err: translate(err)})
		}
	}
	b.files = nil
	if !b.slow {
		errs = append(errs, translate(Flush(b.top.file)))
	}
	return errors.Join(errs...)
}

// rename gives one file its name.
func (b *Batch) rename(f newFile) error {
	h, err := b.folder(f.path)
	if err != nil {
		return err
	}
	defer h.close()
	name := filepath.Base(f.path)
	if err = h.renameNew(f.temp, name); err != nil {
		return cmp.Or(err, h.remove(f.temp))
	}
	if !b.slow {
		return nil
	}
	dir := filepath.Dir(f.path)
	return cmp.Or(Sync(dir), Sync(filepath.Dir(dir)))
}

// Close removes the files that were added and not committed.
func (b *Batch) Close() error {
	var errs []error
	for _, f := range b.files {
		if h, err := b.folder(f.path); err == nil {
			errs = append(errs, h.remove(f.temp), h.close())
		}
	}
	return errors.Join(append(errs, b.Swapper.Close())...)
}

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

// Replacements are many files on this host, each written as [Replace] does: at every moment
// there is the old file or the new one, whole. All of them are synced together, before the
// first one is renamed and after the last one. Several goroutines may add files.
type Replacements struct {
	dir  *os.File // a folder on their file system
	slow bool     // each is synced by itself

	mu      sync.Mutex
	temps   []newFile
	folders []string     // that were not there
	made    atomic.Int64 // temporary files
}

// NewReplacements begins some below dir, which is made where it is not there, with those
// above it.
func NewReplacements(dir string) (*Replacements, error) {
	r := &Replacements{}
	err := r.folderWithin(dir)
	if err == nil {
		r.dir, err = OpenDir(dir)
	}
	if err != nil {
		r.removeFolders()
		return nil, err
	}
	r.slow = !Flushes(dir)
	return r, nil
}

func (r *Replacements) folderWithin(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if above := filepath.Dir(dir); above != dir {
		if err := r.folderWithin(above); err != nil {
			return err
		}
	}
	return r.Folder(dir)
}

// Folder makes a folder for files that are to be added, where it is not there.
func (r *Replacements) Folder(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		r.mu.Lock()
		r.folders = append(r.folders, dir)
		r.mu.Unlock()
	}
	return err
}

// removeFolders removes those that were made, but for what has files that stay.
func (r *Replacements) removeFolders() {
	for _, dir := range slices.Backward(r.folders) {
		_ = os.Remove(dir) // not empty
	}
	r.folders = nil
}

// Add writes what [Replacements.Commit] renames to path. Its folder has to exist, on the
// same file system.
func (r *Replacements) Add(path string, text []byte, mode fs.FileMode) error {
	own := ofProcess()
	for {
		temp := filepath.Join(filepath.Dir(path), fmt.Sprintf("%s%d.%d", Temporary, os.Getpid(), r.made.Add(1)))
		switch err := here.write(temp, text, own, mode, r.slow); {
		case err == nil:
			r.mu.Lock()
			r.temps = append(r.temps, newFile{path, temp})
			r.mu.Unlock()
			return nil
		case errors.Is(err, fs.ErrExist): // left by a killed process
		default:
			return &fs.PathError{Op: "write", Path: temp, Err: err}
		}
	}
}

// Commit renames the files, in the order in which they were added, and syncs them. It ends
// at the first one that fails.
func (r *Replacements) Commit() error {
	if !r.slow {
		if err := Flush(r.dir); err != nil {
			return err
		}
	}
	for len(r.temps) > 0 {
		f := r.temps[0]
		if err := here.rename(f.temp, f.path); err != nil {
			return &fs.PathError{Op: "rename", Path: f.path, Err: err}
		}
		r.temps = r.temps[1:]
		if r.slow {
			if err := Sync(filepath.Dir(f.path)); err != nil {
				return err
			}
		}
	}
	r.folders = nil
	if r.slow {
		return nil
	}
	return Flush(r.dir)
}

// Close removes what was added and has not taken its place, and the folders made for it.
func (r *Replacements) Close() error {
	var errs []error
	for _, f := range r.temps {
		errs = append(errs, os.Remove(f.temp))
	}
	r.removeFolders()
	return errors.Join(append(errs, r.dir.Close())...)
}

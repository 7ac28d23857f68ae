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
	"syscall"
)

// Replacements are many files below a folder on this host. If the folder exists, each of them is
// written as [Replace] does: at every moment there is the old file or the new one, whole. If it
// does not, it is made beside its place under a temporary name, with all files in it, and is
// renamed: at every moment there is the whole folder or none. The files are synced together,
// before the first rename and after the last one. Several goroutines may add files.
type Replacements struct {
	path string   // the folder
	at   string   // the same, or its temporary name until it is renamed
	open *os.File // the folder, until Close
	slow bool     // each file is synced by itself
	own  owns     // of this process

	mu    sync.Mutex
	temps []newFile
	above []string     // folders that were made on the way to the folder
	below []string     // and in it
	made  atomic.Int64 // temporary names
}

// NewReplacements begins some below dir. Missing folders above it are made.
func NewReplacements(dir string) (*Replacements, error) {
	if dir == "" { // which is not the working folder
		return nil, syscall.ENOENT
	}
	r := &Replacements{path: filepath.Clean(dir), own: ofProcess()}
	r.at = r.path
	_, err := os.Lstat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = r.makeBeside()
	}
	if err == nil {
		r.open, err = OpenDir(r.at)
	}
	if err != nil {
		r.removeFolders()
		return nil, err
	}
	r.slow = !Flushes(r.at)
	return r, nil
}

// makeBeside makes the folder under a temporary name.
func (r *Replacements) makeBeside() error {
	if err := r.makeAbove(filepath.Dir(r.path)); err != nil {
		return err
	}
	for {
		temp := r.temporary(r.path)
		err := os.Mkdir(temp, 0o755)
		if err == nil {
			r.at = temp
		}
		if !errors.Is(err, fs.ErrExist) { // left by a killed process
			return err
		}
	}
}

func (r *Replacements) makeAbove(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if above := filepath.Dir(dir); above != dir {
		if err := r.makeAbove(above); err != nil {
			return err
		}
	}
	return r.mkdir(dir, &r.above)
}

// mkdir makes a folder and adds it to the list, unless it exists.
func (r *Replacements) mkdir(dir string, list *[]string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		r.mu.Lock()
		*list = append(*list, dir)
		r.mu.Unlock()
	}
	return err
}

// temporary returns a name in the folder of path.
func (r *Replacements) temporary(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf("%s%d.%d", Temporary, os.Getpid(), r.made.Add(1)))
}

// renames reports whether the folder has a temporary name.
func (r *Replacements) renames() bool { return r.at != r.path }

// Folder makes a folder in the folder, for files that are to be added, if it does not exist.
func (r *Replacements) Folder(name string) error {
	return r.mkdir(filepath.Join(r.at, name), &r.below)
}

// Add writes a file, to which [Replacements.Commit] gives its name. The folder of the name has to
// exist, on the same file system.
func (r *Replacements) Add(name string, text []byte, mode fs.FileMode) error {
	path := filepath.Join(r.at, name)
	if r.renames() {
		return here.write(path, text, r.own, mode, r.slow)
	}
	if is, err := here.lstat(path); err == nil && !is.mode.IsRegular() {
		return errNoFile
	}
	for {
		temp := r.temporary(path)
		switch err := here.write(temp, text, r.own, mode, r.slow); {
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

// Commit gives the folder its name, or the files theirs in the order in which they were added,
// and syncs them. It ends at the first one that fails.
func (r *Replacements) Commit() error {
	if r.renames() {
		return r.commitFolder()
	}
	if !r.slow {
		if err := Flush(r.open); err != nil {
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
	r.below = nil
	if r.slow {
		return nil
	}
	return Flush(r.open)
}

// commitFolder gives the folder its name. What has got this name in the meantime stays.
func (r *Replacements) commitFolder() error {
	if err := r.syncFolder(); err != nil {
		return err
	}
	if err := r.close(); err != nil { // Windows does not rename an open folder
		return err
	}
	if err := renameIfFree(r.at, r.path); err != nil {
		return err
	}
	made := append(r.above, r.path)
	r.at, r.above, r.below = r.path, nil, nil
	for _, dir := range made {
		if err := Sync(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// syncFolder syncs the folder with the temporary name, and all that is in it.
func (r *Replacements) syncFolder() error {
	if !r.slow {
		return Flush(r.open)
	}
	for _, dir := range append(r.below, r.at) {
		if err := Sync(dir); err != nil {
			return err
		}
	}
	return nil
}

// Close removes what was added and has not taken its place, and the folders made for it.
func (r *Replacements) Close() error {
	errs := []error{r.close()}
	for _, f := range r.temps {
		errs = append(errs, os.Remove(f.temp))
	}
	return errors.Join(append(errs, r.removeFolders())...)
}

func (r *Replacements) close() error {
	if r.open == nil {
		return nil
	}
	err := r.open.Close()
	r.open = nil
	return err
}

// removeFolders removes those that were made, except those with files that stay.
func (r *Replacements) removeFolders() error {
	var err error
	if r.renames() {
		err = os.RemoveAll(r.at)
		r.below = nil
	}
	for _, dir := range slices.Backward(append(r.above, r.below...)) {
		_ = os.Remove(dir) // not empty
	}
	r.above, r.below = nil, nil
	return err
}

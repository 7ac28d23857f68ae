package files

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
)

// errChanged is the error for a file that has changed since it was read.
var errChanged = errors.New("it was changed in the meantime")

// replacing is the suffix of the temporary files of Stage: ".NAME.replacing".
const replacing = ".replacing"

// A Swapper replaces many files below one folder of a repository. Several goroutines may
// use it.
type Swapper struct {
	dir  string // the repository
	root *os.Root
	name string // of top
	top  handle
}

// NewSwapper opens the folder at the path top, in the repository at root.
func NewSwapper(root, top string) (*Swapper, error) {
	r, name, err := open(root, top)
	if err != nil {
		return nil, err
	}
	h, err := openIn(r, name)
	if err != nil {
		r.Close()
		return nil, translate(err)
	}
	return &Swapper{root, r, filepath.Clean(top), h}, nil
}

// Close gives the folder back.
func (s *Swapper) Close() error { return errors.Join(s.top.close(), s.root.Close()) }

// folder opens the folder of a file: one in top, or one that a link in it leads to, within
// the repository.
func (s *Swapper) folder(path string) (handle, error) {
	dir := filepath.Dir(path)
	if filepath.Dir(dir) == s.name {
		if h, err := s.top.folder(filepath.Base(dir)); err == nil {
			return h, nil
		}
	}
	name, err := filepath.Rel(s.dir, dir)
	if err != nil {
		return handle{}, err
	}
	h, err := openIn(s.root, name)
	return h, translate(err)
}

// Stage writes the new content of a file to a temporary file beside it, which is on disk
// afterwards and which [Swapper.Swap] then renames. The caller makes sure that only one
// program at a time stages files in a folder. If something else has the name [Staged] it
// stays, and the error is [fs.ErrExist]. Whoever can read or write the old file can do the
// same with the new one.
func (s *Swapper) Stage(path string, text []byte, mode fs.FileMode) error {
	return s.stage(path, text, mode, true)
}

// StageUnsynced is [Swapper.Stage] for a caller that syncs many files at once.
func (s *Swapper) StageUnsynced(path string, text []byte, mode fs.FileMode) error {
	return s.stage(path, text, mode, false)
}

func (s *Swapper) stage(path string, text []byte, mode fs.FileMode, sync bool) error {
	h, err := s.folder(path)
	if err != nil {
		return err
	}
	defer h.close()
	in, err := h.owns()
	if err != nil {
		return translate(err)
	}
	if was, ok := h.mode(filepath.Base(path)); ok { // but never for everybody
		mode |= was &^ 0o002
	}
	return translate(h.write(stagedAs(filepath.Base(path)), text, in, mode, sync))
}

// Swap renames what was staged over the file, if the SHA-256 of its content is still was:
// at every moment there is the one or the other. If the content has changed the file is
// left as it is, and the error is [errChanged]; a change in the moment between the
// comparison and the rename is lost.
func (s *Swapper) Swap(path string, was [sha256.Size]byte, limit int64) error {
	h, err := s.folder(path)
	if err != nil {
		return err
	}
	defer h.close()
	name := filepath.Base(path)
	now, is, err := h.read(name, limit)
	if err != nil || now == nil || int64(len(now)) != is.size { // a link to another folder of the repository, for instance
		if now, err = Read(s.dir, path, limit); err != nil {
			return err
		}
	}
	if sha256.Sum256(now) != was {
		return errChanged
	}
	return translate(h.rename(stagedAs(name), name))
}

// Replace is [Swapper.Stage] and [Swapper.Swap] for a single file. What a killed command has
// staged for it is removed first, and so is the new content if it cannot be swapped.
func (s *Swapper) Replace(path string, text []byte, mode fs.FileMode, was [sha256.Size]byte, limit int64) error {
	if err := s.Unstage(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := s.Stage(path, text, mode)
	if err == nil {
		err = s.Swap(path, was, limit)
	}
	if err != nil {
		s.Unstage(path) // if it cannot be removed, the next Replace does it
	}
	return err
}

// Unstage removes a staged file that will not be swapped.
func (s *Swapper) Unstage(path string) error {
	h, err := s.folder(path)
	if err != nil {
		return err
	}
	defer h.close()
	return translate(h.remove(stagedAs(filepath.Base(path))))
}

// Staged is the path of the temporary file that [Swapper.Stage] writes for a file.
func Staged(path string) string {
	return filepath.Join(filepath.Dir(path), stagedAs(filepath.Base(path)))
}

func stagedAs(name string) string { return "." + name + replacing }

// temporary matches the names that creating and stagedAs make, and finds the name of the
// file in them.
var temporary = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\.(?:[A-Z2-7]{26,}\.(.+)|(.+)\.replacing)$`)
})

// IsTemporary reports whether a name is that of a temporary file of this package.
func IsTemporary(name string) bool { return temporary().MatchString(name) }

// Sweep removes the temporary files that a killed Create, or a Stage without its Swap, has
// left in a folder: those of files for which ours holds. The folder need not exist. Only
// regular files are removed. The caller makes sure that nobody else writes to the folder.
func Sweep(root, path string, ours func(name string) bool) error {
	var disk *Snapshot
	return disk.Sweep(root, path, ours)
}

// Sweep is [Sweep] by the listing of the snapshot: the caller makes sure that nobody else
// has written to the folder since.
func (s *Snapshot) Sweep(root, path string, ours func(name string) bool) error {
	entries, err := s.List(root, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		name := temporary().FindStringSubmatch(e.Name())
		if name != nil && ours(name[1]+name[2]) && e.Type().IsRegular() {
			errs = append(errs, Remove(root, filepath.Join(path, e.Name())))
		}
	}
	return errors.Join(errs...)
}

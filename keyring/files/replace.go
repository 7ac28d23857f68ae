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

// errChanged is the error for a file that is no longer what was read.
var errChanged = errors.New("it was changed in the meantime")

// replacing marks the temporary files of Stage: ".NAME.replacing".
const replacing = ".replacing"

// A Swapper replaces files in the folders of a folder of a repository, many of them.
// Several goroutines may use it.
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

// folder opens the folder of a file, which is one of top's, or a link to another one
// of the repository.
func (s *Swapper) folder(path string) (handle, error) {
	dir := filepath.Dir(path)
	if filepath.Dir(dir) == s.name {
		if h, err := s.top.folder(filepath.Base(dir), false); err == nil {
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

// Stage writes what is to take the place of a file to a temporary file beside it,
// which [Swapper.Swap] gives its name. It is on disk then if sync asks for it: who
// calls it for many files may bring them there at once. He sees to it that one
// program at a time stages files in a folder. What else is at [Staged] stays, and the
// error is [fs.ErrExist]. Who could read the old one, or write to it, can the new one.
func (s *Swapper) Stage(path string, text []byte, mode fs.FileMode, sync bool) error {
	h, err := s.folder(path)
	if err != nil {
		return err
	}
	defer h.close()
	in, err := h.owns()
	if err != nil {
		return translate(err)
	}
	if was, ok := h.mode(filepath.Base(path)); ok { // but not everybody writes to it
		mode |= was &^ 0o002
	}
	return translate(h.write(stagedAs(filepath.Base(path)), text, in, mode, sync))
}

// Swap puts what was staged in the place of a file whose content has the SHA-256
// sum was: at every moment there is the one or the other. If the file is another
// one by now it is left as it is, and the error is [errChanged]; a change in the moment
// between the comparison and the rename is lost.
func (s *Swapper) Swap(path string, was [sha256.Size]byte, limit int64) error {
	h, err := s.folder(path)
	if err != nil {
		return err
	}
	defer h.close()
	name := filepath.Base(path)
	now, is, err := h.read(name, limit)
	if err != nil || now == nil || int64(len(now)) != is.size { // a link, say, to another folder of the repository
		if now, err = Read(s.dir, path, limit); err != nil {
			return err
		}
	}
	if sha256.Sum256(now) != was {
		return errChanged
	}
	return translate(h.rename(stagedAs(name), name))
}

// Unstage removes what was staged and is not to take the place of a file.
func (s *Swapper) Unstage(path string) error {
	h, err := s.folder(path)
	if err != nil {
		return err
	}
	defer h.close()
	return translate(h.remove(stagedAs(filepath.Base(path))))
}

// Staged is the path of what [Swapper.Stage] writes for a file.
func Staged(path string) string {
	return filepath.Join(filepath.Dir(path), stagedAs(filepath.Base(path)))
}

func stagedAs(name string) string { return "." + name + replacing }

// temporary are the names that creating and stagedAs make, with the name of the
// file that it was to be.
var temporary = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\.(?:[A-Z2-7]{26,}\.(.+)|(.+)\.replacing)$`)
})

// IsTemporary tells whether a file has the name of a temporary one.
func IsTemporary(name string) bool { return temporary().MatchString(name) }

// Sweep removes the temporary files that a Create or a Stage has left that was killed
// or was not swapped, in a folder, which need not be there: those of files whose name
// is one of ours. What is no regular file is none of them. Who calls it sees to it that
// nobody else writes to the folder.
func Sweep(root, path string, ours func(name string) bool) error {
	var disk *Snapshot
	return disk.Sweep(root, path, ours)
}

// Sweep is [Sweep] of what was there when the snapshot was taken: nobody else has
// written to the folder since.
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

package files

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"wgkeys/keyring/fault"
)

// ErrChanged is the error for a file that is no longer what was read.
var ErrChanged = errors.New("it was changed in the meantime")

// replacing marks the temporary files of Stage: ".NAME.replacing".
const replacing = ".replacing"

// A Swapper replaces files of a repository, many of them: the root is opened once.
// Several goroutines may use it.
type Swapper struct {
	root *os.Root
	dir  string
}

// NewSwapper opens the repository at root.
func NewSwapper(root string) (*Swapper, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fault.Errno(err)
	}
	return &Swapper{r, root}, nil
}

// Close gives the root back.
func (s *Swapper) Close() error { return s.root.Close() }

// folder opens the folder of a file, in which the file has the short name. Each
// call through the root would walk down from there again.
func (s *Swapper) folder(path string) (dir *os.Root, name, short string, err error) {
	if name, err = filepath.Rel(s.dir, path); err != nil {
		return nil, "", "", err
	}
	dir, err = s.root.OpenRoot(filepath.Dir(name))
	return dir, name, filepath.Base(name), told(err)
}

// Stage writes what is to take the place of a file to a temporary file beside it,
// which [Swapper.Swap] gives its name. It is on disk then if sync asks for it: who
// calls it for many files may bring them there at once. He sees to it that one
// program at a time stages files in a folder.
func (s *Swapper) Stage(path string, text []byte, mode fs.FileMode, sync bool) error {
	dir, _, name, err := s.folder(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = write(dir, stagedAs(name), text, mode, sync)
	if err != nil {
		dir.Remove(stagedAs(name))
	}
	return told(err)
}

// Swap puts what was staged in the place of a file whose content has the SHA-256
// sum was: at every moment there is the one or the other. If the file is another
// one by now it is left as it is, and the error is [ErrChanged].
func (s *Swapper) Swap(path string, was [sha256.Size]byte, limit int64) error {
	dir, whole, name, err := s.folder(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	now, err := readIn(dir, name, limit)
	if errors.Is(err, ErrOutside) { // a link to another folder of the repository
		now, err = readIn(s.root, whole, limit)
	}
	if err != nil {
		return err
	}
	if sha256.Sum256(now) != was {
		return ErrChanged
	}
	return told(dir.Rename(stagedAs(name), name))
}

// Unstage removes what was staged and is not to take the place of a file.
func (s *Swapper) Unstage(path string) error {
	dir, _, name, err := s.folder(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return told(dir.Remove(stagedAs(name)))
}

func stagedAs(name string) string { return "." + name + replacing }

// temporary are the names that creating and stagedAs make, with the name of the
// file that it was to be.
var temporary = regexp.MustCompile(`^\.(?:[A-Z2-7]{26,}\.(.+)|(.+)\.replacing)$`)

// IsTemporary tells whether a file has the name of a temporary one.
func IsTemporary(name string) bool { return temporary.MatchString(name) }

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
		name := temporary.FindStringSubmatch(e.Name())
		if name != nil && ours(name[1]+name[2]) && e.Type().IsRegular() {
			errs = append(errs, Remove(root, filepath.Join(path, e.Name())))
		}
	}
	return errors.Join(errs...)
}

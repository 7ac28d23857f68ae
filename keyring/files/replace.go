package files

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
)

// ErrChanged is the error for a file that is no longer what was read.
var ErrChanged = errors.New("it was changed in the meantime")

// replacing marks the temporary files of Stage: ".NAME.replacing".
const replacing = ".replacing"

// Stage writes what is to take the place of a file to a temporary file beside it,
// which [Swap] gives its name. It is on disk then if sync asks for it: who calls it
// for many files may bring them there at once. He sees to it that one program at a
// time stages files in a folder.
func Stage(root, path string, text []byte, mode fs.FileMode, sync bool) error {
	r, name, err := open(root, path)
	if err != nil {
		return err
	}
	defer r.Close()
	err = write(r, stagedAs(name), text, mode, sync)
	if err != nil {
		r.Remove(stagedAs(name))
	}
	return told(err)
}

// Swap puts what was staged in the place of a file whose content has the SHA-256
// sum was: at every moment there is the one or the other. If the file is another
// one by now it is left as it is, and the error is [ErrChanged].
func Swap(root, path string, was [sha256.Size]byte, limit int64) error {
	r, name, err := open(root, path)
	if err != nil {
		return err
	}
	defer r.Close()
	now, err := readIn(r, name, limit)
	if err != nil {
		return err
	}
	if sha256.Sum256(now) != was {
		return ErrChanged
	}
	return told(r.Rename(stagedAs(name), name))
}

// Unstage removes what was staged and is not to take the place of a file.
func Unstage(root, path string) error {
	r, name, err := open(root, path)
	if err != nil {
		return err
	}
	defer r.Close()
	return told(r.Remove(stagedAs(name)))
}

func stagedAs(name string) string {
	return filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+replacing)
}

// temporary are the names that creating and stagedAs make, with the name of the
// file that it was to be.
var temporary = regexp.MustCompile(`^\.(?:[A-Z2-7]{26,}\.(.+)|(.+)\.replacing)$`)

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

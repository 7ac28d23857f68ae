package files

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// ErrChanged is the error for a file that is no longer what was read.
var ErrChanged = errors.New("it was changed in the meantime")

// replacing marks the temporary files of Replace: ".NAME.replacing".
const replacing = ".replacing"

// Replace puts text in the place of a file whose content has the SHA-256 sum
// was. There is the old content or the new one at every moment, whatever stops
// it, and both are on disk before they are seen. If the file is another one by
// now it is left as it is, and the error is [ErrChanged]. Who calls it sees to
// it that one program at a time replaces files of a folder, and calls
// [SyncFolder] afterwards.
func Replace(root, path string, was [sha256.Size]byte, limit int64, text []byte, mode fs.FileMode) error {
	r, name, err := open(root, path)
	if err != nil {
		return err
	}
	defer r.Close()
	temp := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+replacing)
	if err := write(r, temp, text, mode); err != nil {
		r.Remove(temp)
		return told(err)
	}
	now, err := Read(root, path, limit)
	if err == nil && sha256.Sum256(now) != was {
		err = ErrChanged
	}
	if err == nil {
		err = told(r.Rename(temp, name))
	}
	if err != nil {
		r.Remove(temp)
	}
	return err
}

// SyncFolder makes the renames in a folder survive a power failure.
func SyncFolder(root, path string) error {
	r, name, err := open(root, path)
	if err != nil {
		return err
	}
	defer r.Close()
	return told(syncIn(r, name))
}

// created is what creating makes.
var created = regexp.MustCompile(`^\.[A-Z2-7]{26,}\.`)

// Sweep removes the temporary files that a Create or a Replace that was killed has
// left in a folder, which need not be there. Who calls it sees to it that nobody
// else writes to the folder.
func Sweep(root, path string) error {
	entries, err := List(root, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		replaced := strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), replacing)
		if replaced || created.MatchString(e.Name()) {
			errs = append(errs, Remove(root, filepath.Join(path, e.Name())))
		}
	}
	return errors.Join(errs...)
}

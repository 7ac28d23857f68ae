// Package files reads and writes the files of a repository, and nothing beside
// it: a symbolic link that leads out of the repository is refused, since git
// brings links along and whoever wrote one may not be trusted with the rest of
// the machine.
//
// Every root is a repository's folder, and every path lies below it. Errors do
// not name the path: their reader knows it in full.
package files

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"wgkeys/keyring/fault"
)

// ErrOutside is the error for a link that leads out of the repository, or that
// is absolute.
var ErrOutside = errors.New("a symbolic link leads out of the repository")

// Read returns the content of a regular file of at most limit bytes.
func Read(root, path string, limit int64) ([]byte, error) {
	r, name, err := open(root, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readIn(r, name, limit)
}

// Below is [filepath.Join] of a folder, a folder in it and a file in that, which of ten
// thousand hosts is asked for many times.
func Below(dir, folder, name string) string {
	if !isName(folder) || !isName(name) || len(dir) < 2 || filepath.Clean(dir) != dir {
		return filepath.Join(dir, folder, name)
	}
	return dir + string(filepath.Separator) + folder + string(filepath.Separator) + name
}

func readIn(r *os.Root, name string, limit int64) ([]byte, error) {
	// Without O_NONBLOCK a FIFO would make us wait for its writer (fifo(7)).
	f, err := r.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, translate(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, translate(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	}
	// With room for its end it is read in one go.
	text := bytes.NewBuffer(make([]byte, 0, min(info.Size(), limit)+bytes.MinRead))
	n, err := text.ReadFrom(io.LimitReader(f, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("larger than %d KiB", limit>>10)
	}
	return text.Bytes(), translate(err)
}

// Create makes a new file, and the folders on its way, in full or not at all: a
// temporary file, private from birth, is on disk before it gets the name. It belongs to
// whom its folder belongs, and the folder's group may write to it if it may there. If
// there is a file of that name already the error is [fs.ErrExist], and the file
// is left as it is; of several that race one wins. What one that was killed has
// left [Sweep] removes.
func Create(root, path string, text []byte, mode fs.FileMode) error {
	r, name, err := open(root, path)
	if err != nil {
		return err
	}
	defer r.Close()
	dir := filepath.Dir(name)
	if err := mkdirAll(r, dir, folderFor(mode)); err != nil {
		return translate(err)
	}
	temp := filepath.Join(dir, creating(filepath.Base(name)))
	defer r.Remove(temp)
	if err := write(r, temp, text, mode, true); err != nil {
		return translate(err)
	}
	// link(2) is a rename that replaces nothing.
	if err := r.Link(temp, name); err != nil {
		return translate(err)
	}
	return translate(cmp.Or(syncIn(r, dir), syncIn(r, filepath.Dir(dir))))
}

// folderFor is the mode of the folder of a file: its group may make others in it if it
// may write to that one.
func folderFor(file fs.FileMode) fs.FileMode { return 0o755 | file&0o020 }

// creating is the name of a temporary file of Create: ".RANDOM.NAME", so that what
// judges files by the end of their names takes it for what it is.
func creating(name string) string { return "." + rand.Text() + "." + name }

func write(r *os.Root, name string, text []byte, mode fs.FileMode, sync bool) error {
	f, err := r.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	in, err := ownsIn(r, filepath.Dir(name))
	if err == nil {
		_, err = f.Write(text)
	}
	err = cmp.Or(err, in.give(int(f.Fd()), mode))
	if sync {
		err = cmp.Or(err, f.Sync())
	}
	return cmp.Or(err, f.Close())
}

// Rename gives a file the name of another one of the same folder, whose place it
// takes: at every moment there is either the one or the other.
func Rename(root, from, to string) error {
	r, name, err := open(root, from)
	if err != nil {
		return err
	}
	defer r.Close()
	to = filepath.Join(filepath.Dir(name), filepath.Base(to))
	if err := whileOpen(func() error { return r.Rename(name, to) }); err != nil {
		return translate(err)
	}
	return translate(syncIn(r, filepath.Dir(name)))
}

// Remove removes a file. That there is none is no error.
func Remove(root, path string) error {
	r, name, err := open(root, path)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := whileOpen(func() error { return r.Remove(name) }); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return translate(err)
	}
	return translate(syncIn(r, filepath.Dir(name)))
}

// List returns the entries of a folder, sorted by name.
func List(root, path string) ([]fs.DirEntry, error) {
	r, name, err := open(root, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	d, err := openDirIn(r, name)
	if err != nil {
		return nil, translate(err)
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	sortEntries(entries)
	return entries, translate(err)
}

func sortEntries(entries []fs.DirEntry) {
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
}

func open(root, path string) (r *os.Root, name string, err error) {
	if name, err = filepath.Rel(root, path); err != nil {
		return nil, "", err
	}
	r, err = os.OpenRoot(root)
	return r, name, translate(err)
}

// translate returns the kernel's words for err, and ours for what [os.Root] refuses,
// which has no name in package os.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if err = fault.Errno(err); err.Error() == "path escapes from parent" {
		return ErrOutside
	}
	return err
}

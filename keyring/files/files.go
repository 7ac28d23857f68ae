// Package files is the one place that replaces and locks files, so that a crash leaves each of
// them as it was or as it is to be.
//
// A function with a root is for the files of a repository, which is the folder root, and every
// path lies below it. Such a function refuses a symbolic link that leads out of the repository,
// since links come with git, from people who need not be trusted with the rest of the machine.
// The others, such as [Replace], are for the machine's own files.
//
// Errors do not name the path: the caller knows the full one.
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

// Below is [filepath.Join] of a folder, a folder in it and a file in that one, for callers
// that need it for ten thousand hosts.
func Below(dir, folder, name string) string {
	if !isName(folder) || !isName(name) || len(dir) < 2 || filepath.Clean(dir) != dir {
		return filepath.Join(dir, folder, name)
	}
	return dir + string(filepath.Separator) + folder + string(filepath.Separator) + name
}

func readIn(r *os.Root, name string, limit int64) ([]byte, error) {
	// Without O_NONBLOCK opening a FIFO would wait for its writer (fifo(7)).
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
	// With one byte more than its size the end is found by the same call.
	text := bytes.NewBuffer(make([]byte, 0, min(info.Size(), limit)+bytes.MinRead))
	n, err := text.ReadFrom(io.LimitReader(f, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("larger than %d KiB", limit>>10)
	}
	return text.Bytes(), translate(err)
}

// Create makes a new file, and the folders on its way, whole or not at all: a temporary
// file, private from birth, is on disk before it gets the name. It gets the owner of its
// folder, and is writable for the folder's group if the folder is. If there is a file of
// that name already the error is [fs.ErrExist], and the file is left as it is; of several
// processes that race one wins. [Sweep] removes what a killed process has left.
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
	if err := write(r, temp, text, mode); err != nil {
		return translate(err)
	}
	// link(2) gives a name as rename(2) does, but replaces nothing.
	err = r.Link(temp, name)
	if withoutLinks(err) {
		err = claim(r, temp, name)
	}
	if err != nil {
		return translate(err)
	}
	return translate(cmp.Or(syncIn(r, dir), syncIn(r, filepath.Dir(dir))))
}

// claim is link(2) where the file system has none: of several processes one makes the empty
// file that the other one then replaces.
func claim(r *os.Root, temp, name string) error {
	f, err := r.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	if err = whileOpen(func() error { return r.Rename(temp, name) }); err != nil {
		r.Remove(name)
	}
	return err
}

// folderFor returns the mode of a new file's folder: its group may make files in it if it
// may write to that file.
func folderFor(file fs.FileMode) fs.FileMode { return 0o755 | file&0o020 }

// creating is the name of a temporary file of Create, ".RANDOM.NAME": code that judges
// files by their extension sees the same one.
func creating(name string) string { return "." + rand.Text() + "." + name }

// write makes a file, which is on the disk when it returns.
func write(r *os.Root, name string, text []byte, mode fs.FileMode) error {
	f, err := r.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	in, err := ownsIn(r, filepath.Dir(name))
	if err == nil {
		_, err = f.Write(text)
	}
	if err == nil {
		err = in.give(int(f.Fd()), mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return cmp.Or(err, f.Close())
}

// Rename gives a file the name of another one in the same folder, and replaces that: at
// every moment there is either the one or the other.
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

// Remove removes a file. A file that does not exist is no error.
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

// translate returns the kernel's words for err, and our own for what [os.Root] refuses, for
// which package os has no error value.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if err = fault.Errno(err); err.Error() == "path escapes from parent" {
		return ErrOutside
	}
	return err
}

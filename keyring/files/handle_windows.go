package files

import (
	"cmp"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// A handle is an open folder: names are looked up in it, and a link that leads out of it is
// not followed.
type handle struct {
	root *os.Root // nil: the working folder; paths in it may be of any form
	file *os.File // the folder itself, for Flush
}

var here handle

// openIn opens a folder of a repository, or one that a link in it leads to.
func openIn(r *os.Root, name string) (handle, error) {
	in, err := r.OpenRoot(name)
	if err != nil {
		return handle{}, err
	}
	f, err := openDirIn(in, ".")
	if err != nil {
		in.Close()
		return handle{}, err
	}
	return handle{in, f}, nil
}

// listable opens a folder in this one, also to list it.
func (h handle) listable(name string) (handle, error) { return h.folder(name) }

// folder opens a folder in this one. A link to a folder is refused.
func (h handle) folder(name string) (handle, error) {
	is, err := h.lstat(name)
	if err != nil {
		return handle{}, err
	}
	if !is.mode.IsDir() {
		return handle{}, syscall.ENOTDIR
	}
	open := os.OpenRoot
	if h.root != nil {
		open = h.root.OpenRoot
	}
	in, err := open(name)
	return handle{root: in}, err
}

func (h handle) mkdir(name string, mode fs.FileMode) error { return h.root.Mkdir(name, mode) }

func (h handle) close() error {
	if h.file != nil {
		h.file.Close()
	}
	return h.root.Close()
}

// open opens the folder itself.
func (h handle) open() (*os.File, error) { return openDirIn(h.root, ".") }

// readTo returns the content of a regular file, as [handle.read] does, in memory from room.
func (h handle) readTo(name string, limit int64, room func(n int) []byte) (text []byte, is status, err error) {
	if is, err = h.lstat(name); err != nil || !is.mode.IsRegular() || is.size > limit {
		return nil, is, err
	}
	f, err := h.root.Open(name)
	if err != nil {
		return nil, is, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > limit {
		return nil, is, err
	}
	is = status{info.Mode(), info.Size()}
	text = room(int(is.size) + 1)
	n, err := io.ReadFull(f, text)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return text[:n], is, err
}

func (h handle) owns() (owns, error) { return owns{}, nil }

// status returns the status of the folder.
func (h handle) status() (status, error) { return h.lstat(".") }

// lstat returns the status of a name in the folder.
func (h handle) lstat(name string) (status, error) {
	lstat := os.Lstat
	if h.root != nil {
		lstat = h.root.Lstat
	}
	info, err := lstat(name)
	if err != nil {
		return status{}, err
	}
	return status{info.Mode(), info.Size()}, nil
}

// write makes a new file. A file that cannot be written whole is removed; an existing one
// of that name is not ours, and stays.
func (h handle) write(name string, text []byte, _ owns, _ fs.FileMode, sync bool) error {
	open := os.OpenFile
	if h.root != nil {
		open = h.root.OpenFile
	}
	f, err := open(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if sync {
		err = cmp.Or(err, f.Sync())
	}
	if err = cmp.Or(err, f.Close()); err != nil {
		h.remove(name)
	}
	return err
}

// renameNew renames a file, unless the new name exists: a hard link is a rename that
// replaces nothing.
func (h handle) renameNew(from, to string) error {
	if err := h.root.Link(from, to); err != nil {
		return err
	}
	return h.remove(from)
}

func (h handle) rename(from, to string) error {
	if h.root == nil {
		return replaceFile(from, to)
	}
	return whileOpen(func() error { return h.root.Rename(from, to) })
}

func (h handle) remove(name string) error {
	remove := os.Remove
	if h.root != nil {
		remove = h.root.Remove
	}
	return whileOpen(func() error { return remove(name) })
}

package files

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// MkdirAll makes a folder and its missing parents, as [os.MkdirAll] does, and gives them
// the owner of the parents that exist. A folder that only its owner may read is for that
// owner.
func MkdirAll(path string, mode fs.FileMode) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	there := path
	for {
		if _, err := os.Stat(there); err == nil || there == filepath.Dir(there) {
			break
		}
		there = filepath.Dir(there)
	}
	r, err := os.OpenRoot(there)
	if err != nil {
		return err
	}
	defer r.Close()
	name, err := filepath.Rel(there, path)
	if err != nil {
		return err
	}
	return mkdirAll(r, name, mode)
}

func mkdirAll(r *os.Root, name string, mode fs.FileMode) error {
	if info, err := r.Stat(name); err == nil {
		if !info.IsDir() {
			return syscall.ENOTDIR
		}
		return nil
	}
	if in := filepath.Dir(name); in != name {
		if err := mkdirAll(r, in, mode); err != nil {
			return err
		}
	}
	err := r.Mkdir(name, mode)
	if errors.Is(err, fs.ErrExist) { // another process was faster, or it is a link
		return r.MkdirAll(name, mode)
	}
	if err != nil {
		return err
	}
	in, err := ownsIn(r, filepath.Dir(name))
	if err != nil {
		return err
	}
	return in.giveFolder(r, name, mode)
}

func ownsIn(r *os.Root, dir string) (o owns, err error) {
	d, err := openDirIn(r, dir)
	if err != nil {
		return o, err
	}
	defer d.Close()
	return ownsOf(d)
}

// Give gives a new file the owner of its folder.
func Give(f *os.File, mode fs.FileMode) error {
	o, err := ownsBeside(f)
	return cmp.Or(err, o.give(int(f.Fd()), mode))
}

// GiveSecret is [Give] for a file that its owner alone may read.
func GiveSecret(f *os.File) error {
	o, err := ownsBeside(f)
	return cmp.Or(err, o.giveSecret(f))
}

func ownsBeside(f *os.File) (o owns, err error) {
	d, err := OpenDir(filepath.Dir(f.Name()))
	if err != nil {
		return o, err
	}
	defer d.Close()
	return ownsOf(d)
}

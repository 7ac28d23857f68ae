package files

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// owns are the rights of a folder. What is made in it is for those who may write to
// it: sudo shall lock nobody out of his own checkout, nor somebody the others of his
// group.
type owns struct {
	uid, gid int
	mode     uint32
	list     bool // it has an access control list that what is made in it gets (acl(5))
}

func ownsOf(dir *os.File) (o owns, err error) {
	var info unix.Stat_t
	if err := retryEINTR(func() error { return unix.Fstat(int(dir.Fd()), &info) }); err != nil {
		return o, err
	}
	n, err := defaultList(int(dir.Fd()))
	return owns{int(info.Uid), int(info.Gid), uint32(info.Mode), err == nil && n > 0}, nil
}

// give has a new file or folder of the process, open as fd, belong to whom the folder
// belongs that it was made in, with the mode and, where the folder's group may write
// there, for the group too.
func (o owns) give(fd int, mode fs.FileMode) error {
	if err := o.own(fd); err != nil {
		return err
	}
	if !mode.IsDir() && mode.Perm() == 0o600 && o.mode&0o020 == 0 && !o.list {
		return nil // it is from birth
	}
	bits := uint32(mode.Perm())
	if o.mode&0o020 != 0 || o.list { // of a list the group's bits are the mask
		bits |= 0o060
	}
	if mode.IsDir() {
		if bits&0o020 != 0 {
			bits |= 0o010
		}
		if bits&0o020 != 0 && o.mode&0o020 != 0 || o.mode&unix.S_ISGID != 0 {
			bits |= unix.S_ISGID
		}
	}
	return retryEINTR(func() error { return unix.Fchmod(fd, bits) })
}

func (o owns) own(fd int) error {
	switch {
	case os.Geteuid() == 0 && (o.uid != 0 || o.gid != 0):
		return unix.Fchown(fd, o.uid, o.gid)
	case o.mode&0o020 != 0:
		unix.Fchown(fd, -1, o.gid) // only of a group that one is in
	}
	return nil
}

// MkdirAll makes a folder and those on its way to it, as [os.MkdirAll] does, for whom
// the folders belong to that were there. One that its owner alone may read is for him.
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
	if errors.Is(err, fs.ErrExist) { // somebody was faster, or it is a link
		return r.MkdirAll(name, mode)
	}
	if err != nil {
		return err
	}
	in, err := ownsIn(r, filepath.Dir(name))
	if mode&0o077 == 0 {
		in.mode, in.list = in.mode&^0o020, false
	}
	if err != nil || !in.shared() && mode&0o020 == 0 {
		return err
	}
	d, err := r.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := mine(d); err != nil {
		return err
	}
	return in.give(int(d.Fd()), mode.Perm()|fs.ModeDir)
}

// shared tells whether more is to be done for a folder than the kernel does.
func (o owns) shared() bool {
	return os.Geteuid() == 0 && (o.uid != 0 || o.gid != 0) || o.mode&0o020 != 0 || o.list
}

func ownsIn(r *os.Root, dir string) (o owns, err error) {
	d, err := openDirIn(r, dir)
	if err != nil {
		return o, err
	}
	defer d.Close()
	return ownsOf(d)
}

// mine refuses what somebody else has put in the place of what this process has made.
func mine(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return syscall.EPERM
	}
	return nil
}

// Give has a new file of the process belong to whom the folder belongs that it is in.
func Give(f *os.File, mode fs.FileMode) error {
	o, err := ownsBeside(f)
	return cmp.Or(err, o.give(int(f.Fd()), mode))
}

// GiveSecret is [Give] for a file that its owner alone may read.
func GiveSecret(f *os.File) error {
	o, err := ownsBeside(f)
	o.mode &^= 0o020
	return cmp.Or(err, o.own(int(f.Fd())))
}

func ownsBeside(f *os.File) (o owns, err error) {
	d, err := OpenDir(filepath.Dir(f.Name()))
	if err != nil {
		return o, err
	}
	defer d.Close()
	return ownsOf(d)
}

//go:build unix

package files

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// owns are the rights of a folder. What is made in it is for those who may write to it: a
// command run with sudo must not lock the user out of his own checkout, nor a user the
// others of his group.
type owns struct {
	uid, gid int
	mode     uint32
	list     bool // it has a default access control list, which new files inherit (acl(5))
}

// ofProcess are the rights of a folder that this process makes where only it may write.
func ofProcess() owns { return owns{uid: os.Geteuid(), gid: os.Getegid(), mode: 0o755} }

func ownsOf(dir *os.File) (o owns, err error) {
	var info unix.Stat_t
	if err := retryEINTR(func() error { return unix.Fstat(int(dir.Fd()), &info) }); err != nil {
		return o, err
	}
	n, err := defaultList(int(dir.Fd()))
	return owns{int(info.Uid), int(info.Gid), uint32(info.Mode), err == nil && n > 0}, nil
}

// give gives a new file or folder of this process, open as fd, the owner of its folder, and
// the mode; if the folder's group may write to the folder, it may write to the file, too.
//
// Where the file system keeps neither owners nor modes (vfat, exFAT, some shares of a network
// or a virtual machine) a file is left as it is: everybody's whom the mount options admit.
func (o owns) give(fd int, mode fs.FileMode) error {
	err := o.tryGive(fd, mode)
	if err != nil && withoutModes(fd, mode, err) {
		return nil
	}
	return err
}

// withoutModes reports whether err is of a file system that keeps no modes: there a new file
// has more rights than it was made with.
func withoutModes(fd int, mode fs.FileMode, err error) bool {
	born := uint32(0o600)
	if mode.IsDir() {
		born = uint32(mode.Perm())
	}
	var info unix.Stat_t
	return refused(err) && unix.Fstat(fd, &info) == nil && uint32(info.Mode)&0o777&^born != 0
}

// refused reports whether err is that of a file system to which an operation is unknown:
// Linux says EPERM of a mode and of link(2), others say so.
func refused(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EOPNOTSUPP) ||
		errors.Is(err, unix.ENOSYS)
}

func (o owns) tryGive(fd int, mode fs.FileMode) error {
	if err := o.own(fd); err != nil {
		return err
	}
	if !mode.IsDir() && mode.Perm() == 0o600 && o.mode&0o020 == 0 && !o.list {
		return nil // it has them from birth
	}
	bits := uint32(mode.Perm())
	if o.mode&0o020 != 0 || o.list { // with an access control list, the group's bits are the mask
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
	case (o.uid != 0 || o.gid != 0) && os.Geteuid() == 0:
		return unix.Fchown(fd, o.uid, o.gid)
	case o.mode&0o020 != 0:
		unix.Fchown(fd, -1, o.gid) // only to a group that the process is in
	}
	return nil
}

// giveFolder is give for a folder that this process has made.
func (o owns) giveFolder(r *os.Root, name string, mode fs.FileMode) error {
	if mode&0o077 == 0 {
		o.mode, o.list = o.mode&^0o020, false
	}
	if !o.shared() && mode&0o020 == 0 {
		return nil
	}
	d, err := r.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := mine(d); err != nil {
		return err
	}
	return o.give(int(d.Fd()), mode.Perm()|fs.ModeDir)
}

// giveSecret is give for a file that only its owner may read, from birth on.
func (o owns) giveSecret(f *os.File) error {
	o.mode &^= 0o020
	err := o.own(int(f.Fd()))
	if err != nil && withoutModes(int(f.Fd()), 0o600, err) {
		return nil
	}
	return err
}

// shared reports whether a folder's rights need more than what the kernel does by itself.
func (o owns) shared() bool {
	return (o.uid != 0 || o.gid != 0) && os.Geteuid() == 0 || o.mode&0o020 != 0 || o.list
}

// mine refuses a file that somebody else has put in the place of one of this process.
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

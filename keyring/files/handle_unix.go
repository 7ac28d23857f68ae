//go:build unix

package files

import (
	"cmp"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A handle is an open folder: names are looked up in it, and a link is not followed.
// [os.Root] and [os.File] make four times as many system calls for a file; that does not
// matter for single files, but for those of ten thousand hosts it does.
type handle struct {
	fd   int
	file *os.File // the folder's fd, if it is an open one
}

// here is the working folder; paths in it may be of any form.
var here = handle{fd: unix.AT_FDCWD}

// openIn opens a folder of a repository, or one that a link in it leads to.
func openIn(r *os.Root, name string) (handle, error) {
	f, err := openDirIn(r, name)
	if err != nil {
		return handle{}, err
	}
	return handle{int(f.Fd()), f}, nil
}

// folder opens a folder in this one, only to look up names in it. A link to a folder is
// refused.
func (h handle) folder(name string) (handle, error) { return h.open(name, asPath) }

// listable opens a folder in this one, also to list it. A link to a folder is refused.
func (h handle) listable(name string) (handle, error) { return h.open(name, unix.O_RDONLY) }

func (h handle) open(name string, how int) (handle, error) {
	fd, err := retryEINTRInt(func() (int, error) {
		return unix.Openat(h.fd, name, how|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	return handle{fd: fd}, err
}

func (h handle) mkdir(name string, mode fs.FileMode) error {
	return retryEINTR(func() error { return unix.Mkdirat(h.fd, name, uint32(mode)) })
}

func (h handle) close() error {
	if h.file != nil {
		return h.file.Close()
	}
	return unix.Close(h.fd)
}

// readTo returns the content of a regular file, as [handle.read] does, in memory from room.
func (h handle) readTo(name string, limit int64, room func(n int) []byte) (text []byte, is status, err error) {
	// Without O_NONBLOCK opening a FIFO would wait for its writer (fifo(7)).
	fd, err := retryEINTRInt(func() (int, error) {
		return unix.Openat(h.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, is, err
	}
	defer unix.Close(fd)
	if is, err = (handle{fd: fd}).status(); err != nil || !is.mode.IsRegular() || is.size > limit {
		return nil, is, err
	}
	text = room(int(is.size) + 1)
	n := 0
	for some := 1; some > 0 && n < len(text); n += max(some, 0) { // a network file system may return less at once
		some, err = retryEINTRInt(func() (int, error) { return unix.Read(fd, text[n:]) })
		if int64(n+some) == is.size { // one byte more was asked for, so this is the end
			return text[:is.size], is, nil
		}
	}
	return text[:n], is, err
}

// owns returns the rights of the folder, which is open for lookups only.
func (h handle) owns() (o owns, err error) {
	if h.file != nil {
		return ownsOf(h.file)
	}
	d, err := retryEINTRInt(func() (int, error) {
		return unix.Openat(h.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return o, err
	}
	f := os.NewFile(uintptr(d), ".")
	defer f.Close()
	return ownsOf(f)
}

// status returns the status of an open file.
func (h handle) status() (status, error) {
	var info unix.Stat_t
	if err := retryEINTR(func() error { return unix.Fstat(h.fd, &info) }); err != nil {
		return status{}, err
	}
	return status{fileMode(uint32(info.Mode)), info.Size}, nil
}

// lstat returns the status of a name in the folder.
func (h handle) lstat(name string) (status, error) {
	var info unix.Stat_t
	err := retryEINTR(func() error { return unix.Fstatat(h.fd, name, &info, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return status{}, err
	}
	return status{fileMode(uint32(info.Mode)), info.Size}, nil
}

// write makes a new file, private from birth. A file that cannot be written whole is
// removed; an existing one of that name is not ours, and stays.
func (h handle) write(name string, text []byte, in owns, mode fs.FileMode, sync bool) error {
	fd, err := retryEINTRInt(func() (int, error) {
		return unix.Openat(h.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return err
	}
	for len(text) > 0 && err == nil {
		var n int
		if n, err = retryEINTRInt(func() (int, error) { return unix.Write(fd, text) }); n == 0 && err == nil {
			err = io.ErrUnexpectedEOF
		}
		text = text[max(n, 0):]
	}
	err = cmp.Or(err, in.give(fd, mode))
	if sync {
		err = cmp.Or(err, retryEINTR(func() error { return unix.Fsync(fd) }))
	}
	if err = cmp.Or(err, unix.Close(fd)); err != nil {
		h.remove(name)
	}
	return err
}

// renameNew renames a file, unless the new name exists.
func (h handle) renameNew(from, to string) error {
	err := retryEINTR(func() error { return renameNew(h.fd, from, to) })
	if err == unix.EINVAL || err == unix.ENOSYS { // on NFS, for instance; link(2) is a rename that replaces nothing
		if err = retryEINTR(func() error { return unix.Linkat(h.fd, from, h.fd, to, 0) }); withoutLinks(err) {
			return h.claim(from, to)
		}
		err = cmp.Or(err, h.remove(from))
	}
	return err
}

// claim is renameNew where the file system can do neither: of several processes one makes the
// empty file that the other one then replaces.
func (h handle) claim(from, to string) error {
	fd, err := retryEINTRInt(func() (int, error) {
		return unix.Openat(h.fd, to, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return err
	}
	unix.Close(fd)
	if err = h.rename(from, to); err != nil {
		h.remove(to)
	}
	return err
}

func (h handle) rename(from, to string) error {
	return retryEINTR(func() error { return unix.Renameat(h.fd, from, h.fd, to) })
}

func (h handle) remove(name string) error {
	return retryEINTR(func() error { return unix.Unlinkat(h.fd, name, 0) })
}

// retryEINTRInt calls do until no signal interrupts it, as package os does (go.dev/issue/38033).
func retryEINTRInt(do func() (int, error)) (int, error) {
	for {
		n, err := do()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// retryEINTR is retryEINTRInt for what returns an error alone.
func retryEINTR(do func() error) error {
	_, err := retryEINTRInt(func() (int, error) { return 0, do() })
	return err
}

// fileMode converts a mode of stat(2) to one of package io/fs.
func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m&0o777) | kindOf(uint8(m>>kindShift))
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// kindShift moves the type in a mode to the place of the DT_ constants (IFTODT in
// dirent.h).
const kindShift = 12

// kindOf converts a type of getdents64(2) to one of package io/fs.
func kindOf(kind uint8) fs.FileMode {
	switch kind {
	case unix.DT_DIR:
		return fs.ModeDir
	case unix.DT_LNK:
		return fs.ModeSymlink
	case unix.DT_FIFO:
		return fs.ModeNamedPipe
	case unix.DT_SOCK:
		return fs.ModeSocket
	case unix.DT_BLK:
		return fs.ModeDevice
	case unix.DT_CHR:
		return fs.ModeDevice | fs.ModeCharDevice
	}
	return 0
}

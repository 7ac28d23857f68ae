package files

import (
	"cmp"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A handle is an open folder: names in it are looked up there, and a link is not
// followed. What [os.Root] and [os.File] do beside it, of a file four times as many
// system calls, is for files that one waits for; those of ten thousand hosts are not.
type handle struct {
	fd   int
	file *os.File // whose fd it is, if it is one's
}

// openFolder opens a folder in another one. A link to a folder is none.
func openFolder(in int, name string) (handle, error) {
	fd, err := retryEINTRInt(func() (int, error) {
		return unix.Openat(in, name, asPath|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	return handle{fd: fd}, err
}

func (h handle) close() error {
	if h.file != nil {
		return h.file.Close()
	}
	return unix.Close(h.fd)
}

// read returns what is in a regular file, and its mode as stat(2) has it. The text is
// nil if there is more than limit bytes, or it is no regular file. If it is not as long
// as stat(2) says the file has grown or shrunk meanwhile, or that was never true.
func (h handle) read(name string, limit int64) (text []byte, info unix.Stat_t, err error) {
	return h.readTo(name, limit, func(n int) []byte { return make([]byte, n) })
}

// readTo is read, in memory that room gives for so many bytes.
func (h handle) readTo(name string, limit int64, room func(n int) []byte) (text []byte, info unix.Stat_t, err error) {
	// Without O_NONBLOCK a FIFO would make us wait for its writer (fifo(7)).
	fd, err := retryEINTRInt(func() (int, error) {
		return unix.Openat(h.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, info, err
	}
	defer unix.Close(fd)
	if err := retryEINTR(func() error { return unix.Fstat(fd, &info) }); err != nil ||
		info.Mode&unix.S_IFMT != unix.S_IFREG || info.Size > limit {
		return nil, info, err
	}
	text = room(int(info.Size) + 1)
	n := 0
	for some := 1; some > 0 && n < len(text); n += max(some, 0) { // a file system of the network may give less at once
		some, err = retryEINTRInt(func() (int, error) { return unix.Read(fd, text[n:]) })
		if int64(n+some) == info.Size { // one byte more was asked for
			return text[:info.Size], info, nil
		}
	}
	return text[:n], info, err
}

// owns are the rights of the folder, which is open for no more than its names.
func (h handle) owns() (o owns, err error) {
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

// mode is that of a file, as far as it is one.
func (h handle) mode(name string) (fs.FileMode, bool) {
	var info unix.Stat_t
	err := retryEINTR(func() error { return unix.Fstatat(h.fd, name, &info, unix.AT_SYMLINK_NOFOLLOW) })
	return fileMode(uint32(info.Mode)).Perm(), err == nil && info.Mode&unix.S_IFMT == unix.S_IFREG
}

// write makes a new file, private from birth. What cannot be written whole is removed;
// what has that name already is not ours, and stays.
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

// fileMode is the mode of stat(2) as package io/fs has it.
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

// kindShift brings the type of a mode to where the DT_ constants have it: IFTODT in
// dirent.h.
const kindShift = 12

// kindOf is the type of what is in a folder, as getdents64(2) has it.
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

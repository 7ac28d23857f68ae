package lab

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
)

// open opens a file as the host sees it. A path through /proc/PID/root would follow an
// absolute symbolic link, such as Debian's /var/run, to the machine's own file. With
// RESOLVE_IN_ROOT it does not (openat2(2)).
func (h *Host) open(name string, flags int, mode fs.FileMode) (*os.File, error) {
	how := &unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(mode.Perm())
	}
	fd, err := unix.Openat2(int(h.root.Fd()), name, how)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ReadFile returns the content of a file of the host.
func (h *Host) ReadFile(name string) ([]byte, error) {
	f, err := h.open(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, fault.WrapHost(err, "cannot read a file of host", h.name, "")
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fault.WrapHost(err, "cannot read a file of host", h.name, "")
	}
	return b, nil
}

// WriteFile writes a file of the host with this mode, and makes its directories.
func (h *Host) WriteFile(name string, data []byte, mode fs.FileMode) error {
	return h.write(name, data, mode, unix.O_TRUNC)
}

// appendFile appends to a file of the host, or makes it.
func (h *Host) appendFile(name string, data []byte, mode fs.FileMode) error {
	return h.write(name, data, mode, unix.O_APPEND)
}

func (h *Host) write(name string, data []byte, mode fs.FileMode, flag int) error {
	flag |= unix.O_WRONLY | unix.O_CREAT
	f, err := h.open(name, flag, mode)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := h.Run(context.Background(), "mkdir", "-p", "--", path.Dir(name)); err != nil {
			return err
		}
		f, err = h.open(name, flag, mode)
	}
	if err == nil {
		// An old file has a mode of its own, and a new one lost the bits of this process's
		// umask.
		err = f.Chmod(mode)
		if err == nil {
			_, err = f.Write(data)
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fault.WrapHost(err, "cannot write a file of host", h.name, "")
	}
	return nil
}

// Install copies a program of the machine, given by its path, into the host's
// /usr/local/bin as name. One that is there is replaced as a package manager does it: the old
// file may be a running program, which cannot be written to (ETXTBSY of execve(2)).
func (h *Host) Install(name, program string) error {
	b, err := os.ReadFile(program)
	if err != nil {
		return fault.WrapHost(err, "cannot install a program on host", h.name, "")
	}
	installed := "/usr/local/bin/" + name
	if err := h.WriteFile(installed+".new", b, 0o755); err != nil {
		return err
	}
	_, err = h.Run(context.Background(), "mv", "-f", "--", installed+".new", installed)
	return err
}

// Uninstall removes a program from the host, wherever it is installed there. The machine
// keeps it.
func (h *Host) Uninstall(name string) error {
	args := []string{"rm", "-f", "--"}
	for _, dir := range filepath.SplitList(searchPath) {
		args = append(args, filepath.Join(dir, name))
	}
	_, err := h.Run(context.Background(), args...)
	return err
}

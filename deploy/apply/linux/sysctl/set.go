package sysctl

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/keyring/fault"
)

// Set makes a change.
func (r *Root) Set(c apply.SysctlChange) error {
	err := r.write(c.Key, c.New)
	if err == nil {
		return nil
	}
	now, missing := r.Read(c.Key)
	gone := errors.Is(missing, fs.ErrNotExist)
	switch {
	case gone && c.Old != "":
		return nil // its interface went, and took it along
	case gone:
		return fault.New("no such kernel parameter:", "/proc/sys/"+c.Key, "this kernel has none for the tunnel's interface",
			"ls /proc/sys/"+path.Dir(c.Key)+" shows those there are; then correct sysctls in the tunnel file")
	case missing == nil && slices.Equal(strings.Fields(now), strings.Fields(c.New)):
		return nil // no right to set it, and no need to
	}
	return refused(c, err)
}

// refused tells why a parameter that is there cannot be set. A value that no
// part of the kernel knows is ENOENT to some (tcp_congestion_control) and EINVAL
// to others.
func refused(c apply.SysctlChange, err error) error {
	file := "/proc/sys/" + c.Key
	switch {
	case errors.Is(err, unix.EROFS):
		return fault.New("kernel parameters cannot be changed here", "", "/proc/sys is mounted read-only",
			"mount -o remount,rw,bind /proc/sys, or start the container with the right to change it")
	case errors.Is(err, fs.ErrPermission): // as root; others are told that they are not
		return fault.Wrap(fault.Errno(err), "no right to change the kernel parameter", file,
			"outside of this container: "+c.String()+" (or start it with docker run --sysctl)")
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.ENOENT):
		return fault.Wrap(fault.Errno(err), "the kernel refuses the value for", file,
			"cat "+file+" shows how it is spelled; then correct sysctls in the tunnel file")
	}
	return err
}

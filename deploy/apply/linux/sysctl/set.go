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

// Set sets a parameter. It is no error if the parameter went with its interface, or cannot
// be written but has that value already.
func (r *Root) Set(c apply.SysctlChange) error {
	err := r.write(c.Key, c.New)
	if err == nil {
		return nil
	}
	now, missing := r.Read(c.Key)
	gone := errors.Is(missing, fs.ErrNotExist)
	switch {
	case gone && c.Old != "":
		return nil // its interface is gone
	case gone:
		return fault.NewFile("no such kernel parameter:", "/proc/sys/"+c.Key,
			"this kernel has none for the tunnel's interface",
			"ls /proc/sys/"+path.Dir(c.Key)+" shows those there are; then correct sysctls in the tunnel file")
	case missing == nil && slices.Equal(strings.Fields(now), strings.Fields(c.New)):
		return nil // it has the value already
	}
	return refused(c, err)
}

// refused explains why an existing parameter cannot be set. For a value that the kernel
// does not know, the error is ENOENT in some places (tcp_congestion_control) and EINVAL in
// others.
func refused(c apply.SysctlChange, err error) error {
	file := "/proc/sys/" + c.Key
	switch {
	case errors.Is(err, unix.EROFS):
		return fault.New("kernel parameters cannot be changed here", "", "/proc/sys is mounted read-only",
			"mount -o remount,rw,bind /proc/sys, or start the container with the right to change it")
	case errors.Is(err, fs.ErrPermission): // only root gets here
		return fault.WrapFile(fault.Errno(err), "no right to change the kernel parameter", file,
			"outside of this container: "+c.String()+" (or start it with docker run --sysctl)")
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.ENOENT):
		return fault.WrapFile(fault.Errno(err), "the kernel refuses the value for", file,
			"cat "+file+" shows how it is spelled; then correct sysctls in the tunnel file")
	}
	return err
}

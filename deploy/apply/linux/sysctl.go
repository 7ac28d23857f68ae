package linux

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/keyring/fault"
)

func (k *Kernel) setSysctl(c apply.SysctlChange) error {
	err := k.writeSysctl(c.Key, c.New)
	if err == nil {
		return nil
	}
	now, missing := k.sys.ReadFile(c.Key)
	gone := errors.Is(missing, fs.ErrNotExist)
	switch {
	case gone && c.Old != "":
		return nil // its interface went, and took it along
	case gone:
		return fault.New("no such kernel parameter:", "/proc/sys/"+c.Key, "this kernel has none for the tunnel's interface",
			"ls /proc/sys/"+path.Dir(c.Key)+" shows those there are; then correct sysctls in the tunnel file")
	case missing == nil && slices.Equal(strings.Fields(string(now)), strings.Fields(c.New)):
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
	case errors.Is(err, fs.ErrPermission): // as root; translate speaks to others
		return fault.Wrap(fault.Errno(err), "no right to change the kernel parameter", file,
			"outside of this container: "+c.String()+" (or start it with docker run --sysctl)")
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.ENOENT):
		return fault.Wrap(fault.Errno(err), "the kernel refuses the value for", file,
			"cat "+file+" shows how it is spelled; then correct sysctls in the tunnel file")
	}
	return err
}

func (k *Kernel) writeSysctl(key, value string) error {
	f, err := k.sys.OpenFile(key, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}

// hearNoRouters has a new link of ours take no router advertisements. It would
// where the host forwards: the default for new interfaces is accept_ra=2 then,
// and a peer could make itself the host's default route. Where parameters cannot
// be changed the default is not ours either.
func (k *Kernel) hearNoRouters(link string) error {
	err := k.writeSysctl("net/ipv6/conf/"+link+"/accept_ra", "0")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return nil
	}
	return err
}

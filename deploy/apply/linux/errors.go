package linux

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/keyring/fault"
)

// translate replaces the kernel's error numbers that have a meaning for the user by errors
// that say it.
func translate(err error) error {
	err = wg.Errno(err)
	switch {
	case err == nil:
		return nil
	case (errors.Is(err, unix.EPERM) || errors.Is(err, fs.ErrPermission)) && os.Geteuid() != 0:
		return fault.New("no right to change the network", "", "", fault.AsRoot)
	case errors.Is(err, unix.EPERM) && !mayChangeNetwork():
		return apply.ErrNoRight
	case errors.Is(err, unix.EADDRINUSE):
		return fault.New("the port is in use already", "", "", apply.HintPort)
	case errors.Is(err, unix.ENETDOWN):
		return errors.New("the interface is down")
	}
	return err
}

// mayChangeNetwork reports whether this thread has CAP_NET_ADMIN (capabilities(7)).
func mayChangeNetwork() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	err := unix.Capget(&header, &sets[0])
	return err != nil || sets[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
}

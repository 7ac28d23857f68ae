package lab

import (
	"os"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
)

// refuseChroot returns an error in a chroot. A process that enters a host joins the host's
// mount namespace and is put at the root of that namespace (mntns_install in
// fs/namespace.c), which is outside of the chroot. Commands for a host would find the files
// of the machine around it.
func refuseChroot() error {
	inside, err := leavesRoot()
	if err != nil {
		return fault.Wrap(err, "cannot make a laboratory", "", "")
	}
	if inside {
		return fault.New("cannot make a laboratory", "",
			"this is a chroot, and setns(2) leaves it for the machine around it",
			"systemd-nspawn -D FOLDER, or unshare --mount and pivot_root(8), make a root that it stays in")
	}
	return nil
}

// leavesRoot joins the mount namespace that it is in already, and reports whether it is at
// another directory, or on another mount, afterwards.
func leavesRoot() (left bool, err error) {
	onThread(func() {
		var before, after unix.Statx_t
		if err = statRoot(&before); err != nil {
			return
		}
		var ns *os.File
		if ns, err = os.Open("/proc/thread-self/ns/mnt"); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Unshare(unix.CLONE_FS); err != nil { // setns refuses a thread that shares its directories (setns(2))
			return
		}
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
			return
		}
		err = statRoot(&after)
		left = before.Mnt_id != after.Mnt_id || before.Ino != after.Ino ||
			before.Dev_major != after.Dev_major || before.Dev_minor != after.Dev_minor
	})
	return left, err
}

func statRoot(st *unix.Statx_t) error {
	return unix.Statx(unix.AT_FDCWD, "/", 0, unix.STATX_INO|unix.STATX_MNT_ID, st)
}

package sysctl

import (
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/keyring/fault"
)

// TestRefusedParameter: for each error number the error names the file, and the hint says
// what to run. Other refusals are tested in cmd/wgkeys/apply_refuse_lab_test.go; these need
// a root without the privilege, which that cannot provide.
func TestRefusedParameter(t *testing.T) {
	c := apply.SysctlChange{Key: "net/ipv4/ip_forward", Old: "0", New: "1"}
	for errno, want := range map[unix.Errno]string{
		unix.EACCES: "outside of this container: sysctl -w net.ipv4.ip_forward=1",
		unix.EPERM:  "outside of this container: sysctl -w net.ipv4.ip_forward=1",
		unix.EROFS:  "mount -o remount,rw,bind /proc/sys",
		unix.EINVAL: "cat /proc/sys/net/ipv4/ip_forward",
		unix.ENOENT: "cat /proc/sys/net/ipv4/ip_forward",
	} {
		err := refused(c, &fs.PathError{Op: "write", Path: c.Key, Err: errno})
		if hints := fault.Hints(err); len(hints) != 1 || !strings.Contains(hints[0], want) {
			t.Errorf("%v: %v, with the hints %q, want %q", errno, err, hints, want)
		}
	}
}

package sysctl

import (
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/keyring/fault"
)

// TestRefusedParameter: whatever the kernel says to a parameter, the error names
// the file and the hint says what to run. The rest of them are refusals of
// cmd/wgkeys/apply_refuse_lab_test.go; a root without this right is not to be had there.
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

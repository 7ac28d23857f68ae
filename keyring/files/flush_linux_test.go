package files

import (
	"testing"

	"golang.org/x/sys/unix"
)

// One syncfs(2) for all files stands for an fsync(2) of each only where it tells
// of what could not be written.
func TestCanFlush(t *testing.T) {
	for _, test := range []struct {
		disk    int64
		release string
		want    bool
	}{
		{unix.EXT4_SUPER_MAGIC, "6.1.0-40-cloud-amd64", true},
		{unix.BTRFS_SUPER_MAGIC, "5.8.0", true},
		{unix.NFS_SUPER_MAGIC, "5.10.0-36-amd64", true},
		{unix.EXT4_SUPER_MAGIC, "5.7.19", false},
		{unix.XFS_SUPER_MAGIC, "4.18.0-553.el8_10.x86_64", false},
		{unix.FUSE_SUPER_MAGIC, "6.1.0", false},
		{unix.EXT4_SUPER_MAGIC, "", false},
	} {
		if got := canFlush(test.disk, test.release); got != test.want {
			t.Errorf("type %#x, Linux %q: %v", test.disk, test.release, got)
		}
	}
	if Flushes(t.TempDir() + "/none") {
		t.Error("a folder that is not there")
	}
}

package files

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Flush brings to the disk what is written on the file system of dir: syncfs(2). It tells
// of errors of writing since dir was opened: of one before, some other process may have
// been told instead.
func Flush(dir *os.File) error {
	return retryEINTR(func() error { return unix.Syncfs(int(dir.Fd())) })
}

// Flushes tells whether [Flush] does all that it says where the folder dir is.
func Flushes(dir string) bool {
	var disk unix.Statfs_t
	var kernel unix.Utsname
	if unix.Statfs(dir, &disk) != nil || unix.Uname(&kernel) != nil {
		return false
	}
	return canFlush(int64(disk.Type), unix.ByteSliceToString(kernel.Release[:]))
}

// canFlush tells it of a type of file systems and a release of Linux. Before 5.8
// who calls syncfs(2) does not hear of errors of writing. And a FUSE file system,
// but for virtiofs, does not hear of the call (fuse_sync_fs in fs/fuse/inode.c).
func canFlush(disk int64, release string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n < 2 {
		return false
	}
	return disk != unix.FUSE_SUPER_MAGIC && (major > 5 || major == 5 && minor >= 8)
}

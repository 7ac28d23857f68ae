package files

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Flush syncs all that is written on the file system of dir: syncfs(2). It reports write
// errors since dir was opened; an earlier one may have been reported to another process
// instead.
func Flush(dir *os.File) error {
	return retryEINTR(func() error { return unix.Syncfs(int(dir.Fd())) })
}

// Flushes reports whether [Flush] syncs and reports all errors on the file system of dir.
func Flushes(dir string) bool {
	var disk unix.Statfs_t
	var kernel unix.Utsname
	if unix.Statfs(dir, &disk) != nil || unix.Uname(&kernel) != nil {
		return false
	}
	return canFlush(int64(disk.Type), unix.ByteSliceToString(kernel.Release[:]))
}

// canFlush reports that for a type of file system (statfs(2)) and a release of Linux.
// Before Linux 5.8 syncfs(2) does not report write errors. FUSE file systems other than
// virtiofs do not take part in it (fuse_sync_fs in fs/fuse/inode.c).
func canFlush(disk int64, release string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n < 2 {
		return false
	}
	return disk != unix.FUSE_SUPER_MAGIC && (major > 5 || major == 5 && minor >= 8)
}

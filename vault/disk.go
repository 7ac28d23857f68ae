package vault

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// flush brings the vault to the disk, with what else is written on its file
// system: [files.Flush]. It tells of errors of writing since dir, the vault's folder,
// was opened: of one before, some other process may have been told instead.
func flush(dir *os.File, hint string) error {
	if err := files.Flush(dir); err != nil {
		return fault.WrapFile(err, "not certain to be on disk:", dir.Name(), hint)
	}
	return nil
}

// flushes tells whether flush does all that it says where dir, the vault, is.
func flushes(dir string) bool {
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

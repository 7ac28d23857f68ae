package files

import "golang.org/x/sys/unix"

// asPath opens a folder only for the calls that take a folder.
const asPath = unix.O_PATH

// renameNew renames a file within a folder, unless the new name exists.
func renameNew(fd int, from, to string) error {
	return unix.Renameat2(fd, from, fd, to, unix.RENAME_NOREPLACE)
}

// defaultList is the size of an open folder's default access control list, which new files
// in it inherit (acl(5)).
func defaultList(fd int) (int, error) { return unix.Fgetxattr(fd, "system.posix_acl_default", nil) }

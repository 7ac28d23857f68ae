package files

import "golang.org/x/sys/unix"

// asPath opens a folder for the calls that take one, and for nothing else.
const asPath = unix.O_PATH

// renameNew gives a file of a folder another name there, which none may have.
func renameNew(fd int, from, to string) error {
	return unix.Renameat2(fd, from, fd, to, unix.RENAME_NOREPLACE)
}

// defaultList is the size of an open folder's access control list that what is made in it
// gets (acl(5)).
func defaultList(fd int) (int, error) { return unix.Fgetxattr(fd, "system.posix_acl_default", nil) }

package files

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// HasModes reports whether the mode of a file says who may read and write it. On Windows an
// access control list does, and package os derives the same mode from all of them.
const HasModes = false

// NoFollow opens a symbolic link itself, which is then no regular file.
const NoFollow = windows.FILE_FLAG_OPEN_REPARSE_POINT

// OpenDir opens a folder for reading.
func OpenDir(path string) (*os.File, error) {
	f, err := os.Open(path)
	return folderOnly(f, err)
}

func openDirIn(r *os.Root, name string) (*os.File, error) {
	f, err := r.Open(name)
	return folderOnly(f, err)
}

func folderOnly(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Sync makes a new name in dir survive a power failure. FlushFileBuffers needs a folder
// that is open for writing, which package os cannot do. Some file systems do not flush
// folders. On NTFS the name of a flushed file is in the journal, whose entries keep their
// order, so after a power failure there is either the old state or the new one.
func Sync(dir string) error {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(path, windows.GENERIC_WRITE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) { // the right to make files in it does not need all rights of writing
		return nil
	}
	if err != nil {
		return err
	}
	defer windows.CloseHandle(h)
	switch err := windows.FlushFileBuffers(h); err {
	case windows.ERROR_ACCESS_DENIED, windows.ERROR_INVALID_FUNCTION, windows.ERROR_INVALID_HANDLE,
		windows.ERROR_NOT_SUPPORTED:
		return nil
	default:
		return err
	}
}

// syncIn flushes a folder. It changes nothing there, so it may follow a link.
func syncIn(r *os.Root, dir string) error {
	d, err := openDirIn(r, dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return Sync(d.Name())
}

// replaceFile renames a file over another one, and waits until that is on disk.
func replaceFile(from, to string) error {
	a, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	b, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	return whileOpen(func() error {
		if err := windows.MoveFileEx(a, b, windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH); err != nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		return nil
	})
}

// renameIfFree renames a file or a folder, unless something has the new name.
func renameIfFree(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return whileOpen(func() error { return os.Rename(from, to) })
}

// openFor is how long to wait for another program that has the file open.
const openFor = 2 * time.Second

// whileOpen tries again what Windows refuses while another program has the file open: a
// virus scanner, a search index, a git that reads it.
func whileOpen(do func() error) error {
	for end := time.Now().Add(openFor); ; time.Sleep(10 * time.Millisecond) {
		err := do()
		if err == nil || time.Now().After(end) ||
			!errors.Is(err, windows.ERROR_SHARING_VIOLATION) && !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
			return err
		}
	}
}

// CreateSecret makes a new file that only its owner can read, from birth. If the file
// exists the error is [fs.ErrExist]. A mode does not achieve that on Windows: the file gets
// an access control list of its own, which inherits nothing from the folder's.
func CreateSecret(path string) (*os.File, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, err
	}
	list, err := windows.SecurityDescriptorFromString("D:P(A;;FA;;;" + user.User.Sid.String() + ")")
	if err != nil {
		return nil, err
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	attributes := windows.SecurityAttributes{SecurityDescriptor: list}
	attributes.Length = uint32(unsafe.Sizeof(attributes))
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, &attributes, windows.CREATE_NEW,
		windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// createTemp makes a temporary file that will get this mode.
func createTemp(dir, pattern string, mode fs.FileMode) (*os.File, error) {
	if mode&0o077 != 0 {
		return os.CreateTemp(dir, pattern)
	}
	return CreateSecret(filepath.Join(dir, strings.Replace(pattern, "*", rand.Text(), 1)))
}

// withoutLinks reports whether err says that the file system has no hard links, as FAT.
func withoutLinks(err error) bool {
	return errors.Is(err, windows.ERROR_INVALID_FUNCTION) || errors.Is(err, windows.ERROR_NOT_SUPPORTED)
}

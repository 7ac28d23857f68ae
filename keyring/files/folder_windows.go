package files

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// NoFollow has a link opened itself, which is no regular file.
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

// Sync makes a new name in dir survive a power failure. FlushFileBuffers wants a folder to be
// open for writing, which package os cannot do. Some file systems flush no folder: the
// name of a file that was flushed is in the journal of NTFS, whose entries keep their order,
// and what follows is after a power failure as it was before or as it is now.
func Sync(dir string) error {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(path, windows.GENERIC_WRITE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) { // who may make files in it need not have all rights of writing
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

// syncIn flushes a folder, of which it changes nothing wherever the name leads.
func syncIn(r *os.Root, dir string) error {
	d, err := openDirIn(r, dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return Sync(d.Name())
}

// replaceFile gives a file the path of another one, on the disk too.
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

// openFor is how long another program may have a file open that is to be replaced or removed.
const openFor = 2 * time.Second

// whileOpen tries again what Windows refuses as long as another program has the file open:
// one that looks for viruses, an index of the disk, a git that reads.
func whileOpen(do func() error) error {
	for end := time.Now().Add(openFor); ; time.Sleep(10 * time.Millisecond) {
		err := do()
		if err == nil || time.Now().After(end) ||
			!errors.Is(err, windows.ERROR_SHARING_VIOLATION) && !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
			return err
		}
	}
}

// secret makes a new file its owner's alone, before there is anything in it: what may be done
// to a file is in a list that it gets from its folder, and a mode says nothing of it.
func secret(f *os.File) error {
	owner, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	list, err := windows.ACLFromEntries([]windows.EXPLICIT_ACCESS{{
		AccessPermissions: windows.GENERIC_ALL,
		AccessMode:        windows.GRANT_ACCESS,
		Trustee: windows.TRUSTEE{
			TrusteeForm:  windows.TRUSTEE_IS_SID,
			TrusteeType:  windows.TRUSTEE_IS_USER,
			TrusteeValue: windows.TrusteeValueFromSID(owner.User.Sid),
		},
	}}, nil)
	if err != nil {
		return err
	}
	return windows.SetNamedSecurityInfo(f.Name(), windows.SE_FILE_OBJECT,
		windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, list, nil)
}

package files

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"

	"wgkeys/keyring/fault"
)

// Lock locks a folder for this process, until unlock is called or the process ends. It does
// not wait. The lock is advisory: it keeps out only those who ask for it.
//
// Windows cannot lock a folder: the lock is a named kernel object, which exists as long as
// a process holds it. So it is local to this machine, even for a folder on the network.
func Lock(dir string) (unlock func(), err error) {
	d, err := OpenDir(dir)
	if err != nil {
		return nil, fault.Errno(err)
	}
	defer d.Close()
	var is windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(d.Fd()), &is); err != nil {
		return nil, err
	}
	name, err := windows.UTF16PtrFromString(fmt.Sprintf(`Global\wgkeys-%x-%x-%x`, is.VolumeSerialNumber, is.FileIndexHigh,
		is.FileIndexLow))
	if err != nil {
		return nil, err
	}
	event, err := windows.CreateEvent(nil, 1, 0, name)
	switch {
	case err == windows.ERROR_ALREADY_EXISTS:
		windows.CloseHandle(event)
		return nil, ErrLocked
	case err == windows.ERROR_ACCESS_DENIED: // another user's
		return nil, ErrLocked
	case err != nil:
		return nil, err
	}
	return func() { windows.CloseHandle(event) }, nil
}

// TryLock locks an open file until it is closed. If another one has locked it the error is
// [ErrLocked].
func TryLock(f *os.File) error {
	// Nobody else can read a locked range, so it is a byte beyond the end of any file.
	beyond := windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0,
		1, 0, &beyond)
	if err == windows.ERROR_LOCK_VIOLATION || err == windows.ERROR_IO_PENDING {
		return ErrLocked
	}
	return err
}

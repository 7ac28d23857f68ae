package files

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"

	"wgkeys/keyring/fault"
)

// Lock locks a folder for this process alone, until unlock or its end. It waits
// for nobody. Who does not ask is not kept out.
//
// Windows locks no folder: the lock is a thing of the kernel named after it, which is there
// as long as a process has it. So it is one of this machine, also for a folder of the network.
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
	// What is locked nobody else can read: so it is a byte that no file has.
	beyond := windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0,
		1, 0, &beyond)
	if err == windows.ERROR_LOCK_VIOLATION || err == windows.ERROR_IO_PENDING {
		return ErrLocked
	}
	return err
}

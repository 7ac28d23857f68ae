//go:build unix

package files

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
)

// Lock locks a folder for this process, until unlock is called or the process ends. It does
// not wait. The lock is advisory: it keeps out only those who ask for it.
func Lock(dir string) (unlock func(), err error) {
	f, err := OpenDir(dir)
	if err != nil {
		return nil, fault.Errno(err)
	}
	if err := TryLock(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// TryLock locks an open file or folder until it is closed: flock(2). If another process has
// locked it the error is [ErrLocked].
func TryLock(f *os.File) error { return flock(f, unix.LOCK_EX|unix.LOCK_NB) }

// WaitLock is [TryLock], but waits for the lock.
func WaitLock(f *os.File) error { return flock(f, unix.LOCK_EX) }

// IsLocked reports whether somebody has locked an open file. It takes a shared lock, until
// f is closed, so that two processes that ask at the same time do not see each other as
// holders.
func IsLocked(f *os.File) bool { return flock(f, unix.LOCK_SH|unix.LOCK_NB) != nil }

func flock(f *os.File, how int) error {
	err := retryEINTR(func() error { return unix.Flock(int(f.Fd()), how) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// Own locks an open file so that others can find out which process holds the lock:
// fcntl(2). The lock ends with the process, or when it closes any descriptor of the file.
func Own(f *os.File) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock)
}

// Owner returns the ID of the process that has locked a file with [Own], or 0.
func Owner(f *os.File) (pid int, err error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK {
		return 0, err
	}
	return int(lock.Pid), nil
}

//go:build unix

package files

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
)

// Lock locks a folder for this process alone, until unlock or its end. It waits
// for nobody. Who does not ask is not kept out.
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

// TryLock locks an open file, or an open folder, until it is closed: flock(2). If
// another one has locked it the error is [ErrLocked].
func TryLock(f *os.File) error { return flock(f, unix.LOCK_EX|unix.LOCK_NB) }

// WaitLock is [TryLock] that waits for the other one.
func WaitLock(f *os.File) error { return flock(f, unix.LOCK_EX) }

// IsLocked tells whether somebody has locked a file, which it is open for. Its own lock,
// which it has until f is closed, is a shared one: of two who ask at once neither takes
// the other for somebody.
func IsLocked(f *os.File) bool { return flock(f, unix.LOCK_SH|unix.LOCK_NB) != nil }

func flock(f *os.File, how int) error {
	err := retryEINTR(func() error { return unix.Flock(int(f.Fd()), how) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// Own locks an open file in a way that tells others which process has it: fcntl(2). It
// ends with the process, and when any descriptor of the file is closed there.
func Own(f *os.File) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock)
}

// Owner returns the process that has locked a file with [Own], or 0.
func Owner(f *os.File) (pid int, err error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK {
		return 0, err
	}
	return int(lock.Pid), nil
}

package files

import (
	"errors"
	"os"
	"syscall"

	"wgkeys/keyring/fault"
)

// ErrLocked is the error for a folder that another process has locked.
var ErrLocked = errors.New("another process has locked it")

// Lock locks a folder for this process alone, until unlock or its end. It waits
// for nobody. Who does not ask is not kept out.
func Lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fault.Errno(err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		f.Close()
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return func() { f.Close() }, err
}

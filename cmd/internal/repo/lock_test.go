package repo

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The marker is locked through a descriptor that may write: NFSv4 refuses any
// other an exclusive lock, with EBADF, and every verb that writes would fail there.
func TestLockIsForWriting(t *testing.T) {
	r := newTestRepo(t, "")
	if held, err := tryLock(r); err != nil || !held {
		t.Fatal(held, err)
	}
	defer r.held.Close()
	flags, err := unix.FcntlInt(r.held.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE != unix.O_RDWR {
		t.Errorf("it is open with flags %#x, %v", flags, err)
	}
	if again, err := tryLock(r); err != nil || again {
		t.Errorf("locked twice: %v, %v", again, err)
	}
}

// Who may not write to the marker locks it all the same.
func TestLockForReading(t *testing.T) {
	r := newTestRepo(t, "")
	runtime.LockOSThread() // the file system takes this thread alone for nobody's
	defer runtime.UnlockOSThread()
	defer unix.Setfsuid(os.Geteuid())
	if err := unix.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	if f, err := r.Root.OpenFile(Marker, os.O_RDWR, 0); err == nil {
		f.Close()
		t.Skip("whoever runs this may write to everything")
	}
	if held, err := tryLock(r); err != nil || !held {
		t.Fatal(held, err)
	}
	r.held.Close()
}

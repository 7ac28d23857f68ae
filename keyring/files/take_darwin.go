package files

import (
	"os"

	"golang.org/x/sys/unix"
)

// read lists the open folder into t.found.
func (t *taker) read(h handle) error {
	t.found = t.found[:0]
	again, err := retryEINTRInt(func() (int, error) { return unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(again), ".")
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if e := (found{name: name}); e.ask(h) {
			t.found = append(t.found, e)
		}
	}
	return err
}

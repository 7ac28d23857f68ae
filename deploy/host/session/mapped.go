package session

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped returns the content of a known file without a copy (mmap(2)): touching so many new
// pages takes longer than comparing them. Only we write such a file, and always by a
// rename, so the text does not change. It stays mapped as long as the program runs, which
// is not long.
func mapped(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return "", err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_POPULATE)
	if err != nil {
		return "", os.NewSyscallError("mmap", err)
	}
	return unsafe.String(unsafe.SliceData(b), len(b)), nil
}

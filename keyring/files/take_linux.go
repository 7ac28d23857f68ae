package files

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// read lists the open folder into t.found: getdents64(2).
func (t *taker) read(h handle) error {
	t.found = t.found[:0]
	for {
		n, err := retryEINTRInt(func() (int, error) { return unix.Getdents(h.fd, t.buffer[:]) })
		if n <= 0 || err != nil {
			return err
		}
		for rest := t.buffer[:n]; len(rest) > nameAt; {
			size := binary.NativeEndian.Uint16(rest[sizeAt:])
			name, _, _ := bytes.Cut(rest[nameAt:size], []byte{0})
			gone, kind := binary.NativeEndian.Uint64(rest) == 0, rest[kindAt] // no inode
			rest = rest[size:]
			if gone || string(name) == "." || string(name) == ".." {
				continue
			}
			e := found{string(name), kindOf(kind)}
			if kind != unix.DT_UNKNOWN || e.ask(h) {
				t.found = append(t.found, e)
			}
		}
	}
}

// Offsets of the fields of struct linux_dirent64, in bytes (getdents(2)).
const (
	sizeAt = 16
	kindAt = 18
	nameAt = 19
)

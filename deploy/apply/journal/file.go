package journal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// hintFile is the hint for a file below /run/wgkeys that cannot be read or written.
func hintFile(err error, path string) string {
	switch {
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return fault.AsRoot
	case errors.Is(err, syscall.EROFS):
		return "findmnt -T " + path + " shows what is mounted read-only; for a container: docker run --tmpfs /run"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "df " + filepath.Dir(path) + " (and -i), and make room there"
	}
	return "ls -ld " + filepath.Dir(path) + " " + path
}

// WriteFile replaces a file by a new one with this mode, in one step that survives a power
// failure.
func WriteFile(path string, text []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot make the folder", dir, "")
	}
	if err := files.Replace(path, bytes.NewReader(text), files.Replacement{Mode: mode}); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write", path, "")
	}
	return nil
}

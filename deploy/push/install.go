//go:build unix

package push

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"wgkeys/keyring/files"
)

// install writes r.text so that there is at every moment either the old file or the new
// one: a temporary file that is private from birth, with its content on disk and its
// fingerprint checked, then a rename, then a sync of the folder.
func install(r request) error {
	dir := filepath.Dir(r.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if fi, err := os.Lstat(r.path); err == nil && fi.IsDir() {
		return errors.New("is a directory")
	}
	sweep(dir)
	err := files.Replace(r.path, bytes.NewReader(r.text), files.Replacement{
		Mode:    0o600,
		Readers: true,
		Prepare: func(f *os.File) error { return f.Chown(0, 0) },
		Check: func(temp string) error {
			if got, err := readFingerprint(r.kind, temp); err != nil || got != r.fingerprint {
				return errors.New("what arrived is another key")
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	return files.Sync(filepath.Dir(dir)) // dir may be new
}

// sweep removes what a killed push has left: the name of a temporary file has the ID of its
// process.
func sweep(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), files.Temporary)
		pid, _, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(pid)
		if ours && e.Type().IsRegular() && (err != nil || n <= 0 || syscall.Kill(n, 0) == syscall.ESRCH) {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// repair gives a key file back to root alone. It opens the file without following a link,
// so that it cannot change another file.
func repair(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chown(0, 0); err != nil {
		return err
	}
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	return f.Sync()
}

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

// install puts r.text in place so that there is at every moment either the old
// file or the new one: a temporary file that is private from birth, its
// content on disk and its fingerprint proven, then a rename, then the directory on
// disk.
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

// sweep removes what a push that was killed outright left behind: the name of
// a temporary file tells whose it was.
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

// repair gives a key file back to root alone. It opens the file without
// following a link, so that nothing else can be given away.
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

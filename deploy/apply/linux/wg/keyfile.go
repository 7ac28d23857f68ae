package wg

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// readKey reads a key file. It refuses one that others can read, unless it is a group that
// somebody chose.
func readKey[K any](path, host string, parse func([]byte) (K, error)) (key K, err error) {
	push := "wgkeys push " + host
	// Opening a FIFO would wait for somebody to write to it (fifo(7)).
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return key, fault.WrapFile(fault.Errno(err), "cannot read key file", path, hintFor(err, push))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return key, fault.WrapFile(fault.Errno(err), "cannot read key file", path, push)
	case info.IsDir():
		return key, fault.NewFile("cannot read key file", path, "it is a directory", "rmdir "+path+", then "+push)
	case !info.Mode().IsRegular():
		return key, fault.NewFile("cannot read key file", path, "it is no regular file", "rm "+path+", then "+push)
	case !ownedByUs(info):
		return key, fault.NewFile("will not use key file", path,
			"it belongs to another user of this host, who can read and change it", push)
	case info.Mode().Perm()&0o077 != 0 && !chosenReaders(info):
		return key, fault.NewFile("will not use key file", path,
			"others on this host can read or change it (mode "+info.Mode().Perm().String()+")",
			push+" mends its mode; if strangers have accounts here, replace the key")
	case info.Size() == 0:
		return key, fault.NewFile("no key in key file", path, "it is empty", push)
	}
	text, err := io.ReadAll(io.LimitReader(f, 256))
	defer clear(text)
	if err != nil {
		return key, fault.WrapFile(fault.Errno(err), "cannot read key file", path, push)
	}
	if key, err = parse(text); err != nil {
		return key, fault.WrapFile(err, "no valid key in key file", path, push)
	}
	return key, nil
}

func chosenReaders(info fs.FileInfo) bool {
	_, chosen := files.Readers(info)
	return chosen
}

// ownedByUs reports whether a file belongs to root or to the user of this process.
func ownedByUs(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && (s.Uid == 0 || int(s.Uid) == os.Geteuid())
}

func hintFor(err error, push string) string {
	if errors.Is(err, fs.ErrPermission) {
		return fault.AsRoot
	}
	return push
}

// ReadPrivateKey reads a private key file that only its owner can read. Host is the name of
// this host, for the hint in the error.
func ReadPrivateKey(path, host string) (keyring.PrivateKey, error) {
	return readKey(path, host, keyring.ParsePrivateKey)
}

// ReadPresharedKey is [ReadPrivateKey] for a preshared key file.
func ReadPresharedKey(path, host string) (keyring.PresharedKey, error) {
	return readKey(path, host, keyring.ParsePresharedKey)
}

package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// Lock makes this process the only one that changes tunnels on the host, until unlock is
// called. If another process holds the lock, wait is called with its ID, and Lock waits for
// it.
func Lock(ctx context.Context, dir string, wait func(pid int)) (unlock func(), err error) {
	path := filepath.Join(dir, "lock")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot make the folder", dir, hintFile(err, dir))
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot open the lock", path, hintFile(err, path))
	}
	for reported := false; ; reported = true {
		err := files.TryLock(f)
		if err == nil {
			break
		}
		if !errors.Is(err, files.ErrLocked) {
			return nil, errors.Join(fault.WrapFile(err, "cannot lock", path, ""), f.Close())
		}
		if !reported {
			wait(holder(f))
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		case <-time.After(20 * time.Millisecond):
		}
	}
	f.Truncate(0)
	f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return func() { f.Close() }, nil
}

func holder(f *os.File) int {
	b := make([]byte, 16)
	n, _ := f.ReadAt(b, 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}

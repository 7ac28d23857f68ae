package journal_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/journal"
	"wgkeys/keyring/fault"
)

// Who only wants to look, without the right to, is told to look as root: not to
// apply, and never to take the tunnel down.
func TestHintsChangeNothing(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"wg0.journal", "wg0.pending", "lock"} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	tries := map[string]func(dir string) error{
		"journal": func(dir string) error { _, err := journal.Open(dir, "wg0"); return err },
		"pending": func(dir string) error { _, err := journal.ReadPending(dir, "wg0"); return err },
		"lock":    func(dir string) error { _, err := journal.Lock(context.Background(), dir, func(int) {}); return err },
	}
	runtime.LockOSThread() // it alone is nobody's for a while
	defer runtime.UnlockOSThread()
	uid := os.Geteuid()
	become := func(uid int) { unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)) }
	become(65534)
	defer become(uid)
	for what, try := range tries {
		err := try(dir)
		if hints := fault.Hints(err); len(hints) != 1 || hints[0] != fault.AsRoot {
			t.Errorf("%s: %v: hints %q", what, err, hints)
		}
		err = try(filepath.Join(dir, "lock")) // which is not a folder
		if hints := fault.Hints(err); len(hints) != 1 || strings.Contains(hints[0], "wgkeys") {
			t.Errorf("%s: %v: hints %q", what, err, hints)
		}
	}
}

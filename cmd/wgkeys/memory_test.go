package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// The process writes no core and lets no other of the same user look into it.
func TestMemoryIsHidden(t *testing.T) {
	hideMemory()
	t.Cleanup(func() { unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) })
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); dumpable != 0 || err != nil {
		t.Errorf("dumpable is %d (%v)", dumpable, err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit.Cur != 0 || limit.Max != 0 {
		t.Errorf("a core may have %d bytes (%v)", limit.Cur, err)
	}
}

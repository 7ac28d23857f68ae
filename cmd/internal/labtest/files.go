package labtest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/lab"
)

// InNetwork calls socket in the network namespace of a host, in which the socket then
// stays. The thread that entered the namespace is not reused.
func InNetwork[S any](t *testing.T, h *lab.Host, socket func() (S, error)) S {
	t.Helper()
	type made struct {
		socket S
		err    error
	}
	result := make(chan made)
	go func() {
		runtime.LockOSThread()
		var m made
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.PID()))
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			ns.Close()
		}
		if err == nil {
			m.socket, err = socket()
		}
		m.err = err
		result <- m
	}()
	m := <-result
	if m.err != nil {
		t.Fatal(m.err)
	}
	return m.socket
}

// Glob is filepath.Glob without temporary files, which begin with a dot.
func Glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(paths, func(path string) bool { return strings.HasPrefix(filepath.Base(path), ".") })
}

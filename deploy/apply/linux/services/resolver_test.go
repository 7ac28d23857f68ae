package services

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/lab/labtest"
)

// Where systemd-resolved is installed, resolvconf may be resolvectl under another name,
// which takes resolvers only while systemd-resolved runs.
func TestResolver(t *testing.T) {
	if os.Geteuid() != 0 {
		labtest.Missing(t, "only root has a /run of its own")
	}
	runtime.LockOSThread() // never given back
	if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", "/run", "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	write := func(path string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("#!/bin/sh\n"),
			0o755)); err != nil {
			t.Fatal(err)
		}
	}
	installed, other := t.TempDir(), t.TempDir()
	write(installed + "/resolvectl")
	write(other + "/resolvconf")
	if err := os.Symlink("resolvectl", installed+"/resolvconf"); err != nil {
		t.Fatal(err)
	}
	look := func(path, want string) {
		t.Helper()
		t.Setenv("PATH", path)
		if got := resolver(); got != want {
			t.Errorf("%s takes resolvers, want %q", got, want)
		}
	}
	look(t.TempDir(), "")
	look(installed, "")
	look(other, apply.Resolvconf)
	write("/run/systemd/resolve/io.systemd.Resolve")
	look(installed, apply.Resolved)
	look(other, apply.Resolvconf)
}

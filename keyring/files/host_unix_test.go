//go:build unix

package files_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"wgkeys/keyring/files"
)

// TestReplaceNoFile: what is there and is no file stays, a device above all: root names
// /dev/null too. A link is replaced.
func TestReplaceNoFile(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t, syscall.Mkfifo(in("fifo"), 0o600))
	must(t, os.Mkdir(in("folder"), 0o700))
	must(t, os.Symlink("fifo", in("link")))
	socket, err := net.Listen("unix", in("socket"))
	must(t, err)
	defer socket.Close()
	for name, stays := range map[string]bool{"fifo": true, "folder": true, "socket": true, "link": false} {
		before, err := os.Lstat(in(name))
		must(t, err)
		err = files.Replace(in(name), strings.NewReader("new"), files.Replacement{Mode: 0o644})
		after, gone := os.Lstat(in(name))
		if refused := err != nil; gone != nil || refused != stays || stays && after.Mode() != before.Mode() {
			t.Errorf("%s: %v, %v is %v, %v", name, err, before.Mode(), after, gone)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 4 {
		t.Errorf("left: %v, %v", left, err)
	}
}

package ui

import (
	"strings"
	"syscall"
	"testing"

	"wgkeys/keyring/fault"
)

// TestAboutDisk: the disk that is looked at is that of the file which could not be written, not of
// one that was written instead. Nothing is known here of a disk of another host.
func TestAboutDisk(t *testing.T) {
	t.Parallel()
	unwritten := fault.WrapFile(syscall.EROFS, "cannot write", "/etc/wgkeys/wg0.view", "")
	for want, err := range map[string]error{
		"hint: findmnt -T /etc": fault.WrapFile(unwritten, "for the next boot the view is in",
			"/var/lib/wgkeys/wg0.view", ""),
		"read-only": fault.WrapHost(unwritten, "no answer from host", "shale", ""),
	} {
		var said strings.Builder
		(&UI{Stderr: &said}).Warn(err)
		if lines := strings.TrimSpace(said.String()); !strings.Contains(lines[strings.LastIndex(lines, "wgkeys: "):], want) {
			t.Errorf("said\n%s", lines)
		}
	}
}

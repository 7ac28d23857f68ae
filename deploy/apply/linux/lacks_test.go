package linux

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/lab/labtest"
	"wgkeys/keyring/fault"
)

// In a container whose root may not change its network, the hint is how to start one that
// may, and not to become root.
func TestNoCapability(t *testing.T) {
	labtest.OwnNetwork(t)
	k, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capset(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
	err = k.Do(t.Context(), []apply.Change{apply.LinkChange{Name: "wg0", New: &apply.Link{MTU: 1420}}})
	if hints := fault.Hints(err); err == nil || len(hints) != 1 || !strings.Contains(hints[0], "--cap-add NET_ADMIN") {
		t.Errorf("%v: hints %q", err, hints)
	}
}

package linux

import (
	"net"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A port is taken where any socket of this network namespace has it, of either
// family and of whichever address, and only so long.
func TestTaken(t *testing.T) {
	runtime.LockOSThread() // never given back
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp4", "udp6"} {
		c, err := net.ListenUDP(network, nil)
		if err != nil {
			t.Fatal(err)
		}
		port := c.LocalAddr().(*net.UDPAddr).Port
		if len(socketsOf(port)) == 0 {
			t.Errorf("%s: port %d is free, and has a socket", network, port)
		}
		c.Close()
		if len(socketsOf(port)) > 0 {
			t.Errorf("%s: port %d is taken by nobody", network, port)
		}
	}
}

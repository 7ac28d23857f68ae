package port

import (
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/linux/wg"
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

// A port whose socket is closed while it is looked at has an owner or is free: it is
// not taken by somebody whom nobody can name.
func TestTakenWhileItIsClosed(t *testing.T) {
	runtime.LockOSThread() // never given back
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	wg, err := wg.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer wg.Close()
	for range 100 {
		c, err := net.ListenUDP("udp4", nil)
		if err != nil {
			t.Fatal(err)
		}
		go c.Close()
		if owner, taken := Owner(nl, wg, c.LocalAddr().(*net.UDPAddr).Port); taken && owner == "" {
			t.Fatal("taken by nobody")
		}
	}
}

package port

import (
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/lab/labtest"
)

// A port is taken as long as any socket in this network namespace has it, of either family
// and on any address.
func TestTaken(t *testing.T) {
	labtest.OwnNetwork(t)
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

// A port whose socket is being closed has an owner or is free. It is never taken by nobody.
func TestTakenWhileItIsClosed(t *testing.T) {
	labtest.OwnNetwork(t)
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

package device

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	wireguard "golang.zx2c4.com/wireguard/device"
)

// A peer is answered from the address to which it sent, also where the kernel joins packets.
func TestAnswersFromTheAddressAsked(t *testing.T) {
	ownNetwork(t)
	addLocal(t, "2001:db8:b::1", "2001:db8:b::2")
	b := newBind()
	receive, port, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.end()
	for _, c := range []struct{ from, to string }{
		{"127.0.0.1", "127.0.0.2"}, {"127.0.0.1", "127.0.0.1"},
		{"::1", "2001:db8:b::2"}, {"2001:db8:b::2", "2001:db8:b::1"},
	} {
		from, to := netip.AddrPortFrom(netip.MustParseAddr(c.from), 0), netip.AddrPortFrom(netip.MustParseAddr(c.to), port)
		peer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(from))
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		if _, err := peer.WriteToUDPAddrPort([]byte("x"), to); err != nil {
			t.Fatal(err)
		}
		answer(t, b, receive[familyOf(to.Addr())])
		if err := peer.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, got, err := peer.ReadFromUDPAddrPort(make([]byte, 10))
		if err != nil || got != to {
			t.Errorf("%s asked %s and was answered from %s, %v", c.from, to, got, err)
		}
	}
}

func familyOf(a netip.Addr) int {
	if a.Is6() {
		return 1
	}
	return 0
}

// answer sends the next packet back, from the thread of the test's network.
func answer(t *testing.T, b *bind, receive conn.ReceiveFunc) {
	t.Helper()
	size := b.BatchSize()
	packets, sizes, endpoints := make([][]byte, size), make([]int, size), make([]conn.Endpoint, size)
	for i := range packets {
		packets[i] = make([]byte, wireguard.MaxMessageSize)
	}
	if n, err := receive(packets, sizes, endpoints); n != 1 || err != nil {
		t.Fatalf("%d packets, %v", n, err)
	}
	if err := b.Send([][]byte{packets[0][:sizes[0]]}, endpoints[0]); err != nil {
		t.Fatal(err)
	}
}

// WireGuard does not answer from the address of one uplink by another.
func TestAnswersByTheWayOfTheRoute(t *testing.T) {
	ip := ownNetwork(t)
	for _, n := range []string{"1", "2"} {
		ip("link add up" + n + " type veth peer name far" + n)
		ip("link set far" + n + " up")
		ip("link set up" + n + " up")
		ip("addr add 192.0.2." + n + n + "/28 dev up" + n)
		ip("addr add 2001:db8:" + n + "::1/64 dev up" + n + " nodad")
	}
	ip("route add default dev up1")
	ip("-6 route add default dev up1")
	ip("route add default dev up2 table 100")
	ip("rule add fwmark 5 lookup 100")
	links := map[string]int{}
	for _, name := range []string{"up1", "up2"} {
		link, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		links[name] = link.Index
	}
	for _, c := range []struct {
		to, from string
		mark     uint32
		want     string
	}{
		{"198.51.100.1", "192.0.2.11", 0, "up1"},
		{"198.51.100.1", "192.0.2.22", 0, "up1"},
		{"198.51.100.1", "192.0.2.22", 5, "up2"},
		{"198.51.100.1", "", 5, "up2"},
		{"198.51.100.1", "192.0.2.99", 0, ""}, // it is not here any more
		{"2001:db8:9::1", "2001:db8:1::1", 0, "up1"},
		{"2001:db8:9::1", "2001:db8:2::1", 0, "up1"},
		{"2001:db8:2::9", "", 0, "up2"},
	} {
		w := way{to: netip.MustParseAddr(c.to)}
		if c.from != "" {
			w.from = netip.MustParseAddr(c.from)
		}
		if got, err := askExit(w, c.mark); got != links[c.want] || err != nil {
			t.Errorf("to %s from %s with mark %d: by %d, want %s, %d, %v", c.to, c.from, c.mark, got, c.want, links[c.want], err)
		}
	}
}

// What would be routed into the tunnel is not sent, until a route leads elsewhere.
func TestSendsNothingIntoTheTunnel(t *testing.T) {
	ip := ownNetwork(t)
	for _, name := range []string{"wg0", "up0"} {
		ip("link add " + name + " type veth peer name far" + name)
		ip("link set " + name + " up")
		ip("link set far" + name + " up")
	}
	ip("addr add 192.0.2.1/24 dev up0")
	ip("route add default via 192.0.2.2")
	ip("addr add 10.77.0.1/24 dev wg0")
	b := newBind()
	if _, _, err := b.Open(0); err != nil {
		t.Fatal(err)
	}
	defer b.end()
	link, err := net.InterfaceByName("wg0")
	if err != nil {
		t.Fatal(err)
	}
	b.own = link.Index
	send := func(to string) error {
		e, err := b.ParseEndpoint(to)
		if err != nil {
			t.Fatal(err)
		}
		return b.Send([][]byte{[]byte("x")}, e)
	}
	if err := send("198.51.100.1:51820"); err != nil {
		t.Errorf("by the uplink: %v", err)
	}
	if err := send("10.77.0.2:51820"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("to an address INSIDE: %v, want %v", err, unix.ELOOP)
	}
	ip("route add 198.51.100.0/24 dev wg0")
	b.forget()
	if err := send("198.51.100.1:51820"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("by a route into the tunnel: %v, want %v", err, unix.ELOOP)
	}
	ip("route del 198.51.100.0/24 dev wg0")
	b.forget()
	if err := send("198.51.100.1:51820"); err != nil {
		t.Errorf("by the uplink again: %v", err)
	}
}

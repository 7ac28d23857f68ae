package device

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wireguard "golang.zx2c4.com/wireguard/device"
)

// A peer is answered from the address to which it sent, also where the kernel joins packets.
func TestAnswersFromTheAddressAsked(t *testing.T) {
	ip := ownNetwork(t)
	ip("link set lo up")
	ip("addr add 2001:db8:b::1/128 dev lo nodad")
	ip("addr add 2001:db8:b::2/128 dev lo nodad")
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
		ip("addr add 192.0.2.1" + n + "/28 dev up" + n)
		ip("addr add 2001:db8:" + n + "::1/64 dev up" + n + " nodad")
	}
	ip("route add default dev up1")
	ip("-6 route add default dev up1")
	ip("route add default dev up2 table 100")
	ip("rule add fwmark 5 lookup 100")
	links := map[string]int32{}
	for _, name := range []string{"up1", "up2"} {
		link, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		links[name] = int32(link.Index)
	}
	for _, c := range []struct {
		to, from, link string
		mark           uint32
		want           bool
	}{
		{"198.51.100.1", "192.0.2.11", "up1", 0, true},
		{"198.51.100.1", "192.0.2.12", "up2", 0, false},
		{"198.51.100.1", "192.0.2.12", "up2", 5, true},
		{"198.51.100.1", "192.0.2.99", "up1", 0, false}, // it is not here any more
		{"2001:db8:9::1", "2001:db8:1::1", "up1", 0, true},
		{"2001:db8:9::1", "2001:db8:2::1", "up2", 0, false},
	} {
		w := way{netip.MustParseAddr(c.to), netip.MustParseAddr(c.from), links[c.link]}
		if got := leadsBack(w, c.mark); got != c.want {
			t.Errorf("to %s from %s by %s with mark %d: %t, want %t", c.to, c.from, c.link, c.mark, got, c.want)
		}
	}
}

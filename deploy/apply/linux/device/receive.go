package device

import (
	"encoding/binary"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	wireguard "golang.zx2c4.com/wireguard/device"
)

// A reader receives what arrives at a socket of wireguard-go's bind, in place of that bind's
// own function.
//
// That one loses the address at which a packet arrived if the kernel joins packets (UDP_GRO
// in udp(7), Linux 5.12 and later): it is left behind when they are split again. A host with
// several addresses would answer from another one than the peer sent to, and every NAT and
// firewall with a memory on the way would drop the answer.
type reader struct {
	socket interface {
		ReadBatch(messages []ipv6.Message, flags int) (int, error)
	}
	datagrams int // received at once
}

// mostJoined is how many packets the kernel joins into one datagram (UDP_GRO_CNT_MAX).
const mostJoined = 64

// readersOf returns the readers of the open sockets of wireguard-go's bind.
func readersOf(std conn.Bind) (readers []reader) {
	if c := socketOf(std, "ipv4"); c != nil {
		readers = append(readers, reader{ipv4.NewPacketConn(c), datagramsOf(c, std.BatchSize())})
	}
	if c := socketOf(std, "ipv6"); c != nil {
		readers = append(readers, reader{ipv6.NewPacketConn(c), datagramsOf(c, std.BatchSize())})
	}
	return readers
}

func socketOf(std conn.Bind, field string) *net.UDPConn {
	return (*net.UDPConn)(reflect.ValueOf(std).Elem().FieldByName(field).UnsafePointer())
}

// portOf returns the port of an open bind. What Open returns for it is 0 on a host without
// IPv6, and wireguard-go would take any port the next time.
func portOf(std conn.Bind) uint16 {
	for _, family := range []string{"ipv4", "ipv6"} {
		if c := socketOf(std, family); c != nil {
			return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		}
	}
	return 0
}

// datagramsOf returns how many datagrams have room in a batch of packets.
func datagramsOf(c *net.UDPConn, packets int) int {
	joins := 0
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { joins, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO) })
	}
	if joins == 0 {
		return packets
	}
	return packets / mostJoined
}

// A batch is what a reader received at once.
type batch struct {
	datagrams []ipv6.Message
	n         int
	err       error
}

func newBatch(datagrams int) *batch {
	b := &batch{datagrams: make([]ipv6.Message, datagrams)}
	for i := range b.datagrams {
		b.datagrams[i].Buffers = [][]byte{make([]byte, wireguard.MaxMessageSize)}
		b.datagrams[i].OOB = make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo)+unix.CmsgSpace(4))
	}
	return b
}

func (r reader) read(b *batch) { b.n, b.err = r.socket.ReadBatch(b.datagrams, 0) }

// split copies the packets, and returns how many there are.
func (b *batch) split(packets [][]byte, sizes []int, endpoints []conn.Endpoint) (n int) {
	for _, d := range b.datagrams[:max(b.n, 0)] {
		sender, ok := d.Addr.(*net.UDPAddr)
		if !ok || d.N == 0 {
			continue
		}
		at, size := parseControl(d.OOB[:d.NN])
		if size == 0 {
			size = d.N
		}
		for packet := range slices.Chunk(d.Buffers[0][:d.N], size) {
			if n == len(packets) {
				return n
			}
			sizes[n] = copy(packets[n], packet)
			endpoints[n] = endpointAt(sender.AddrPort(), at)
			n++
		}
	}
	return n
}

// parseControl returns the message that says at which address and interface a datagram
// arrived (IP_PKTINFO in ip(7)), and the size of the packets that were joined, or 0.
func parseControl(control []byte) (at []byte, size int) {
	for len(control) >= unix.CmsgSpace(0) {
		head, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		switch {
		case head.Level == unix.IPPROTO_IP && head.Type == unix.IP_PKTINFO,
			head.Level == unix.IPPROTO_IPV6 && head.Type == unix.IPV6_PKTINFO:
			at = slices.Clone(control[:min(unix.CmsgSpace(len(data)), len(control))])
		case head.Level == unix.SOL_UDP && head.Type == unix.UDP_GRO && len(data) == 4:
			size = int(binary.NativeEndian.Uint32(data))
		}
		control = rest
	}
	return at, size
}

// source is the field of wireguard-go's endpoint with the control message that has the
// kernel send from an address: the message with which the peer's last packet came.
var source, _ = reflect.TypeFor[conn.StdNetEndpoint]().FieldByName("src")

// endpointAt returns a peer's endpoint that is answered from where its packet arrived.
func endpointAt(peer netip.AddrPort, at []byte) *conn.StdNetEndpoint {
	e := &conn.StdNetEndpoint{AddrPort: peer}
	*(*[]byte)(unsafe.Add(unsafe.Pointer(e), source.Offset)) = at
	return e
}

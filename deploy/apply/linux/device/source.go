package device

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"

	"wgkeys/deploy/apply/linux/nlmsg"
)

// A way is that of packets to a peer from the address to which it sent.
type way struct {
	to, from netip.Addr
	link     int32 // the interface by which its packets come
}

// ways says which ways lead out by the interface by which the peer's packets come. From the
// others WireGuard does not answer: the address is that of another uplink, whose provider
// alone forwards it (send4 in the kernel's drivers/net/wireguard/socket.c).
type ways map[way]bool

// mostWays bounds the memory on a host with many peers.
const mostWays = 1 << 16

// answering returns the endpoint with the address to answer from, or without one.
func (b *bind) answering(to conn.Endpoint) conn.Endpoint {
	e, ok := to.(*conn.StdNetEndpoint)
	if !ok {
		return to
	}
	w := way{e.DstIP(), e.SrcIP(), e.SrcIfidx()}
	if !w.from.IsValid() || w.to.IsLinkLocalUnicast() {
		return to
	}
	b.mu.Lock()
	back, known := b.ways[w]
	opened, mark := b.closed, b.mark
	b.mu.Unlock()
	if !known {
		back = leadsBack(w, mark)
		b.mu.Lock()
		if len(b.ways) >= mostWays || b.ways == nil {
			b.ways = ways{}
		}
		if b.closed == opened { // else the routes may have changed
			b.ways[w] = back
		}
		b.mu.Unlock()
	}
	if back {
		return to
	}
	return &conn.StdNetEndpoint{AddrPort: e.AddrPort}
}

// leadsBack asks the kernel for the route.
func leadsBack(w way, mark uint32) bool {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return false
	}
	defer c.Close()
	head := make([]byte, unix.SizeofRtMsg)
	head[0], head[1], head[2] = unix.AF_INET, byte(w.to.BitLen()), byte(w.from.BitLen())
	if w.to.Is6() {
		head[0] = unix.AF_INET6
	}
	attributes := netlink.NewAttributeEncoder()
	attributes.Bytes(unix.RTA_DST, w.to.AsSlice())
	attributes.Bytes(unix.RTA_SRC, w.from.AsSlice())
	if mark != 0 {
		attributes.Uint32(unix.RTA_MARK, mark)
	}
	encoded, err := attributes.Encode()
	if err != nil {
		return false
	}
	answer, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request},
		Data:   append(head, encoded...),
	})
	return err == nil && len(answer) == 1 && routeLink(answer[0].Data) == int(w.link)
}

// routeLink returns the interface of a route, or 0.
func routeLink(route []byte) int {
	if len(route) < unix.SizeofRtMsg {
		return 0
	}
	for kind, value := range nlmsg.Attributes(route[unix.SizeofRtMsg:]) {
		if kind == unix.RTA_OIF && len(value) == 4 {
			return int(binary.NativeEndian.Uint32(value))
		}
	}
	return 0
}

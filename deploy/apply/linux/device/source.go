package device

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"

	"wgkeys/deploy/apply/linux/nlmsg"
)

// A way is that of packets to a peer; from is the address to which it sent, if it did.
type way struct{ to, from netip.Addr }

// exits are the interfaces by which packets leave, 0 for none. They are forgotten when a
// route or a rule changes.
type exits map[way]int

// mostExits bounds the memory on a host with many peers.
const mostExits = 1 << 16

// routed returns the endpoint to send to, as the kernel's WireGuard does
// (drivers/net/wireguard/socket.c): from the address to which the peer sent, unless its
// packets came by another interface than ours leave by, because then it is that of another
// uplink, whose provider alone forwards it. What would be routed into the tunnel itself is
// not sent: it would come back for ever, as for a peer whose last packet was from an
// address INSIDE.
func (b *bind) routed(to conn.Endpoint) (conn.Endpoint, error) {
	e, ok := to.(*conn.StdNetEndpoint)
	if !ok || e.DstIP().IsLinkLocalUnicast() {
		return to, nil
	}
	w := way{e.DstIP(), e.SrcIP()}
	link := b.exit(w)
	if w.from.IsValid() && link != int(e.SrcIfidx()) {
		e = &conn.StdNetEndpoint{AddrPort: e.AddrPort}
		link = b.exit(way{to: w.to})
	}
	if link != 0 && link == b.own {
		return nil, unix.ELOOP
	}
	return e, nil
}

// exit returns the interface by which packets leave.
func (b *bind) exit(w way) int {
	b.mu.Lock()
	link, known := b.exits[w]
	changes, mark := b.changes, b.mark
	b.mu.Unlock()
	if known {
		return link
	}
	link, err := askExit(w, mark)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.exits) >= mostExits || b.exits == nil {
		b.exits = exits{}
	}
	if err == nil && b.changes == changes {
		b.exits[w] = link
	}
	return link
}

// forget forgets the interfaces.
func (b *bind) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgetExits()
}

func (b *bind) forgetExits() { b.exits, b.changes = nil, b.changes+1 }

// askExit asks the kernel. That it has no route is no error.
func askExit(w way, mark uint32) (link int, err error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	head := make([]byte, unix.SizeofRtMsg)
	head[0], head[1] = unix.AF_INET, byte(w.to.BitLen())
	if w.to.Is6() {
		head[0] = unix.AF_INET6
	}
	attributes := netlink.NewAttributeEncoder()
	attributes.Bytes(unix.RTA_DST, w.to.AsSlice())
	if w.from.IsValid() {
		head[2] = byte(w.from.BitLen())
		attributes.Bytes(unix.RTA_SRC, w.from.AsSlice())
	}
	if mark != 0 {
		attributes.Uint32(unix.RTA_MARK, mark)
	}
	encoded, err := attributes.Encode()
	if err != nil {
		return 0, err
	}
	answer, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request},
		Data:   append(head, encoded...),
	})
	if err != nil || len(answer) != 1 {
		return 0, nil
	}
	return routeLink(answer[0].Data), nil
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

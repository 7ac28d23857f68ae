package device

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// wireguard-go joins packets of equal size into one write, which the kernel cuts into
// packets again (UDP_SEGMENT in udp(7)). A packet that is longer than the path MTU is sent
// in fragments, but not if it was joined: then the kernel refuses the whole write
// (udp_send_skb) and wireguard-go drops it. A retransmission would be dropped in the same
// way, so such packets have to be sent one by one.

// A whole has the packets that the kernel refused to cut, by destination.
type whole map[netip.Addr]refusal

// A refusal is the length, in bytes, from which on packets are not to be joined.
type refusal struct {
	size int
	at   time.Time
}

// remember is how long a refusal counts. It is the time after which the kernel forgets a
// path MTU (net.ipv4.route.mtu_expires, Documentation/networking/ip-sysctl.rst).
const remember = 10 * time.Minute

// mostRefusals bounds the memory on a host with many peers.
const mostRefusals = 1 << 12

// size returns the length from which on packets to an address are not to be joined; 0: all
// may be.
func (w whole) size(to netip.Addr, now time.Time) int {
	if r, ok := w[to]; ok && now.Sub(r.at) < remember {
		return r.size
	}
	return 0
}

func (w *whole) refuse(to netip.Addr, size int, now time.Time) {
	if *w == nil || len(*w) >= mostRefusals {
		*w = whole{}
	}
	(*w)[to] = refusal{size, now}
}

// send sends packets, joining those that are shorter than size, or all if size is 0. If the
// kernel refuses to cut them, it sends all again, one by one, and returns the length of the
// longest. Some may have been sent before; the peer drops duplicates.
func send(b conn.Bind, packets [][]byte, to conn.Endpoint, size int) (refused int, err error) {
	if size > 0 {
		packets = apart(packets, size)
	}
	err = b.Send(packets, to)
	if len(packets) < 2 || !uncut(err) {
		return 0, err
	}
	longest := slices.MaxFunc(packets, func(a, b []byte) int { return len(a) - len(b) })
	if err := b.Send(apart(packets, 0), to); err != nil {
		return 0, err // the error had another cause
	}
	return len(longest), nil
}

// apart returns the packets so that those of at least size bytes are not joined:
// wireguard-go appends packets to the first one as far as its slice has capacity, so theirs
// is removed.
func apart(packets [][]byte, size int) [][]byte {
	packets = slices.Clone(packets)
	for i, p := range packets {
		if len(p) >= size {
			packets[i] = slices.Clip(p)
		}
	}
	return packets
}

// uncut reports whether the error may mean that the kernel refused to cut a joined packet:
// EMSGSIZE, or EINVAL from older kernels, which has many other causes (udp_send_skb).
func uncut(err error) bool { return errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.EINVAL) }

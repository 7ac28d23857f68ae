package device

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// wireguard-go joins packets of one size, and the kernel cuts them apart again
// (UDP_SEGMENT, udp(7)). A packet that is too long for the way to its peer the
// kernel sends in fragments, unless it was one of several joined: of those it
// sends none (udp_send_skb), and wireguard-go drops them. What was sent again
// would be dropped again: such packets have to go one by one.

// A whole is what the kernel refused to cut, by the address that it was for.
type whole map[netip.Addr]refusal

// A refusal is the size of packets that are not to be joined, nor longer ones.
type refusal struct {
	size int
	at   time.Time
}

// remember is how long a refusal counts: the kernel forgets in that time what it
// has learned of a way (mtu_expires, ip-sysctl in the kernel's documentation).
const remember = 10 * time.Minute

// mostRefusals bounds what a host with many peers has to remember.
const mostRefusals = 1 << 12

// size returns the length from which on packets to an address are not to be
// joined, or 0.
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

// send sends packets, joining those that are shorter than size, or all where it
// is 0. If the kernel refuses to cut some, it sends all of them one by one and
// returns their size: a packet that came already is one that came twice, and the
// peer drops it.
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
		return 0, err // it was something else
	}
	return len(longest), nil
}

// apart has packets from a size on not joined: wireguard-go joins them to the
// first one, in its memory, as far as there is room behind it.
func apart(packets [][]byte, size int) [][]byte {
	packets = slices.Clone(packets)
	for i, p := range packets {
		if len(p) >= size {
			packets[i] = slices.Clip(p)
		}
	}
	return packets
}

// uncut reports whether the kernel may have refused to cut what was joined: it
// says EMSGSIZE, and older ones EINVAL, as for much else (udp_send_skb).
func uncut(err error) bool { return errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.EINVAL) }

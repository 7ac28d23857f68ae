package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/lab"
)

// A flow is numbered packets one way through the tunnel, at an even pace. UDP
// sends nothing again: what the tunnel loses stays lost, and is counted.
type flow struct {
	name    string
	sent    atomic.Uint64
	mu      sync.Mutex
	seen    []uint8 // how often each number has come
	refused map[string]int
	counted uint64
}

// A tally is what became of the packets of some time.
type tally struct{ sent, lost, doubled int }

func (a tally) String() string {
	return fmt.Sprintf("%d lost, %d doubled of %d", a.lost, a.doubled, a.sent)
}

func (a *tally) add(b tally) {
	a.sent, a.lost, a.doubled = a.sent+b.sent, a.lost+b.lost, a.doubled+b.doubled
}

// flows sends both ways between two INSIDE addresses until the test ends:
// first from a to b, second from b to a.
func (u *users) flows(a, b *lab.Host, aAddr, bAddr string, every time.Duration) [2]*flow {
	u.t.Helper()
	const port = 7768
	aPort := netip.AddrPortFrom(netip.MustParseAddr(aAddr), port)
	bPort := netip.AddrPortFrom(netip.MustParseAddr(bAddr), port)
	aConn, bConn := u.udp(a, aPort, bPort), u.udp(b, bPort, aPort)
	there := &flow{name: a.Name() + " to " + b.Name(), refused: map[string]int{}}
	back := &flow{name: b.Name() + " to " + a.Name(), refused: map[string]int{}}
	go there.receive(bConn)
	go back.receive(aConn)
	go there.send(aConn, every)
	go back.send(bConn, every)
	return [2]*flow{there, back}
}

func (u *users) udp(h *lab.Host, local, remote netip.AddrPort) *net.UDPConn {
	u.t.Helper()
	c := inNetwork(u.t, h, func() (*net.UDPConn, error) {
		return net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote))
	})
	// A pause of the test itself is not to be taken for the tunnel's.
	if err := forceReadBuffer(c, 16<<20); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { c.Close() })
	return c
}

func forceReadBuffer(c *net.UDPConn, size int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) })
	return errors.Join(err, set)
}

// send ends with its socket. A packet that the kernel refuses is lost like one
// that it drops, and it says why. Where the machine was late it catches up, but
// for what would be a burst.
func (f *flow) send(c *net.UDPConn, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var packet [200]byte
	const burst = 20
	for due := time.Now(); ; due = due.Add(every) {
		for time.Until(due) > 0 {
			<-tick.C
		}
		due = later(due, time.Now().Add(-burst*every))
		// The complement keeps the checksum the same for all: for the one packet in
		// 65536 whose sum is zero, wireguard-go's gsoNoneChecksum writes a zero, and
		// a host drops that (RFC 768 says 0xffff; RFC 8200, section 8.1).
		binary.BigEndian.PutUint64(packet[:], f.sent.Load())
		binary.BigEndian.PutUint64(packet[8:], ^f.sent.Load())
		_, err := c.Write(packet[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			f.mu.Lock()
			f.refused[err.Error()]++
			f.mu.Unlock()
		}
		f.sent.Add(1)
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (f *flow) receive(c *net.UDPConn) {
	var packet [201]byte
	for {
		n, err := c.Read(packet[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n == 200 {
			f.got(binary.BigEndian.Uint64(packet[:]))
		}
	}
}

func (f *flow) got(number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for uint64(len(f.seen)) <= number {
		f.seen = append(f.seen, 0)
	}
	f.seen[number]++
}

// arrived reports whether all packets before number have come.
func (f *flow) arrived(number uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if uint64(len(f.seen)) < number {
		return false
	}
	for _, times := range f.seen[f.counted:number] {
		if times == 0 {
			return false
		}
	}
	return true
}

// count tells what became of the packets sent since it was last called. It
// gives those on their way a second to come.
func (f *flow) count() tally {
	end := f.sent.Load()
	for give := time.Now().Add(time.Second); !f.arrived(end) && time.Now().Before(give); {
		time.Sleep(2 * time.Millisecond)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t := tally{sent: int(end - f.counted)}
	for ; f.counted < end; f.counted++ {
		switch {
		case f.counted >= uint64(len(f.seen)) || f.seen[f.counted] == 0:
			t.lost++
		case f.seen[f.counted] > 1:
			t.doubled++
		}
	}
	return t
}

// waitFlowing waits for the first handshake, and forgets what it held up.
func waitFlowing(t *testing.T, flows ...*flow) {
	t.Helper()
	for _, f := range flows {
		end := time.Now().Add(patience)
		for f.count().lost > 0 || f.sent.Load() < 50 {
			if time.Now().After(end) {
				t.Fatalf("nothing flows from %s: %v", f.name, f.refusals())
			}
		}
	}
}

func (f *flow) refusals() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.refused) == 0 {
		return ""
	}
	text := fmt.Sprint(f.refused)
	clear(f.refused)
	return text
}

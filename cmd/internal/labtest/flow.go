package labtest

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

// A Flow is a steady stream of numbered UDP packets in one direction through the tunnel.
// UDP does not retransmit, so every packet that the tunnel loses is counted.
type Flow struct {
	Name    string
	sent    atomic.Uint64
	mu      sync.Mutex
	seen    []uint8 // how many times each packet came
	refused map[string]int
	counted uint64
}

// A Tally is what happened to the packets of a period.
type Tally struct{ Sent, Lost, Doubled int }

func (a Tally) String() string {
	return fmt.Sprintf("%d lost, %d doubled of %d", a.Lost, a.Doubled, a.Sent)
}

// Add adds b.
func (a *Tally) Add(b Tally) {
	a.Sent, a.Lost, a.Doubled = a.Sent+b.Sent, a.Lost+b.Lost, a.Doubled+b.Doubled
}

// Flows sends in both directions between two INSIDE addresses until the test ends: the
// first flow is from a to b, the second from b to a.
func (u *Users) Flows(a, b *lab.Host, aAddr, bAddr string, every time.Duration) [2]*Flow {
	u.Helper()
	return u.FlowsAt(7768, a, b, aAddr, bAddr, every)
}

// FlowsAt is Flows with another UDP port, for flows between the same hosts.
func (u *Users) FlowsAt(port uint16, a, b *lab.Host, aAddr, bAddr string, every time.Duration) [2]*Flow {
	u.Helper()
	aPort := netip.AddrPortFrom(netip.MustParseAddr(aAddr), port)
	bPort := netip.AddrPortFrom(netip.MustParseAddr(bAddr), port)
	aConn, bConn := u.udp(a, aPort, bPort), u.udp(b, bPort, aPort)
	there := &Flow{Name: a.Name() + " to " + b.Name(), refused: map[string]int{}}
	back := &Flow{Name: b.Name() + " to " + a.Name(), refused: map[string]int{}}
	go there.receive(bConn)
	go back.receive(aConn)
	go there.send(aConn, every)
	go back.send(bConn, every)
	return [2]*Flow{there, back}
}

func (u *Users) udp(h *lab.Host, local, remote netip.AddrPort) *net.UDPConn {
	u.Helper()
	c := InNetwork(u.T, h, func() (*net.UDPConn, error) {
		return net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote))
	})
	// A pause of the test itself must not be taken for one of the tunnel.
	if err := forceReadBuffer(c, 16<<20); err != nil {
		u.Fatal(err)
	}
	u.Cleanup(func() { c.Close() })
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

// send sends until the socket is closed. A packet that the kernel refuses counts as lost,
// and the error is recorded. After a delay of the machine it catches up, but not in one
// burst.
func (f *Flow) send(c *net.UDPConn, every time.Duration) {
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

func (f *Flow) receive(c *net.UDPConn) {
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

func (f *Flow) got(number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for uint64(len(f.seen)) <= number {
		f.seen = append(f.seen, 0)
	}
	f.seen[number]++
}

// arrived reports whether all packets before number have arrived.
func (f *Flow) arrived(number uint64) bool {
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

// Count returns what happened to the packets sent since its last call. Those on their way
// get a second to arrive.
func (f *Flow) Count() Tally { return f.CountAfter(time.Second) }

// CountAfter is Count with another time for those on their way.
func (f *Flow) CountAfter(most time.Duration) Tally {
	end := f.sent.Load()
	for give := time.Now().Add(most); !f.arrived(end) && time.Now().Before(give); {
		time.Sleep(2 * time.Millisecond)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t := Tally{Sent: int(end - f.counted)}
	for ; f.counted < end; f.counted++ {
		switch {
		case f.counted >= uint64(len(f.seen)) || f.seen[f.counted] == 0:
			t.Lost++
		case f.seen[f.counted] > 1:
			t.Doubled++
		}
	}
	return t
}

// WaitFlowing waits for the first handshake, and ignores what was lost before it.
func WaitFlowing(t *testing.T, flows ...*Flow) {
	t.Helper()
	for _, f := range flows {
		end := time.Now().Add(Patience)
		for f.Count().Lost > 0 || f.sent.Load() < 50 {
			if time.Now().After(end) {
				t.Fatalf("nothing flows from %s: %v", f.Name, f.Refusals())
			}
		}
	}
}

// Refusals returns the kernel's errors for packets that it refused to send since the last
// call.
func (f *Flow) Refusals() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.refused) == 0 {
		return ""
	}
	text := fmt.Sprint(f.refused)
	clear(f.refused)
	return text
}

package labtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Stream is a flow at a rate at which a system call for each packet would take the whole
// machine: the kernel cuts what is written into packets (UDP_SEGMENT), and returns those
// that came together as one (UDP_GRO). The packets of 1 ms, or in a large mesh of 4 ms, are
// sent at once.
type Stream struct {
	From, To string
	sent     atomic.Uint64
	mu       sync.Mutex
	seen     []uint8 // how often each number has come
	last     time.Time
	gap      time.Duration // the longest time between arrivals since Mark
	refused  map[string]int
	every    time.Duration // between two sends
	atOnce   int           // most packets in one system call
}

// packetSize is small enough for some tens of packets in the 64 KB of one call. MostAtOnce
// is the kernel's limit.
const (
	packetSize = 200
	MostAtOnce = 64
)

// A Toll is what happened to a stream in a period.
type Toll struct {
	Sent, Lost, Doubled int
	row                 int           // the most consecutive packets lost
	Gap                 time.Duration // the longest time without an arrival
}

func (t Toll) String() string {
	return fmt.Sprintf("%d lost (%d in a row), %d doubled of %d, longest gap %.1f ms", t.Lost, t.row, t.Doubled, t.Sent,
		InMS(t.Gap))
}

// InMS returns a duration in milliseconds.
func InMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func setUDP(t *testing.T, c *net.UDPConn, option, value int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_UDP, option, value) })
	if err := errors.Join(err, set); err != nil {
		t.Fatal(err)
	}
}

// send sends until the socket is closed. Packets that the kernel refuses are lost, and the
// error is recorded. After a delay of the machine it catches up by at most 20 ms, so that
// the burst is not lost.
func (s *Stream) send(c *net.UDPConn, rate int) {
	tick := time.NewTicker(max(s.every, time.Second/time.Duration(rate)))
	defer tick.Stop()
	var batch [MostAtOnce * packetSize]byte
	start := time.Now()
	for range tick.C {
		sent := s.sent.Load()
		due := uint64(float64(rate) * time.Since(start).Seconds())
		if late := max(1, uint64(rate/50)); due > sent+late {
			start = start.Add(time.Duration(float64(due-sent-late) / float64(rate) * 1e9))
			due = sent + late
		}
		for sent < due {
			n := min(due-sent, uint64(s.atOnce))
			fill(batch[:n*packetSize], sent)
			_, err := c.Write(batch[:n*packetSize])
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				s.mu.Lock()
				s.refused[err.Error()] += int(n)
				s.mu.Unlock()
			}
			sent += n
			s.sent.Store(sent)
		}
	}
}

// fill numbers packets. The complement keeps the checksums off zero, as in [Flow.send].
func fill(batch []byte, number uint64) {
	for ; len(batch) > 0; batch = batch[packetSize:] {
		binary.BigEndian.PutUint64(batch, number)
		binary.BigEndian.PutUint64(batch[8:], ^number)
		number++
	}
}

func (s *Stream) receive(c *net.UDPConn) {
	batch := make([]byte, 1<<16)
	for {
		n, err := c.Read(batch)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			s.got(batch[:n])
		}
	}
}

func (s *Stream) got(batch []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.gap = max(s.gap, now.Sub(s.last))
	s.last = now
	for ; len(batch) >= packetSize; batch = batch[packetSize:] {
		number := binary.BigEndian.Uint64(batch)
		if ^number != binary.BigEndian.Uint64(batch[8:]) {
			continue // not ours
		}
		for uint64(len(s.seen)) <= number {
			s.seen = append(s.seen, 0)
		}
		s.seen[number]++
	}
}

// Mark begins a period, and returns the number of its first packet.
func (s *Stream) Mark() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gap, s.last = 0, time.Now()
	clear(s.refused)
	return s.sent.Load()
}

// between counts the packets from mark up to end. Those on their way get a second to
// arrive.
func (s *Stream) between(mark, end uint64) Toll {
	for give := time.Now().Add(time.Second); ; time.Sleep(5 * time.Millisecond) {
		if t := s.counted(mark, end); t.Lost == 0 || time.Now().After(give) {
			return t
		}
	}
}

// counted counts the packets from mark up to end that have arrived so far.
func (s *Stream) counted(mark, end uint64) Toll {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := Toll{Sent: int(end - mark), Gap: max(s.gap, time.Since(s.last))}
	row := 0
	for n := mark; n < end; n++ {
		if n < uint64(len(s.seen)) && s.seen[n] > 0 {
			t.Doubled += int(s.seen[n]) - 1
			row = 0
			continue
		}
		t.Lost++
		row++
		t.row = max(t.row, row)
	}
	return t
}

// Reasons returns the kernel's errors for packets that it refused to send since the last
// Mark.
func (s *Stream) Reasons() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refused) == 0 {
		return ""
	}
	return fmt.Sprint(" ", s.refused)
}

// Longest returns the longest time without an arrival since the last Mark.
func (s *Stream) Longest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.gap, time.Since(s.last))
}

// Add adds x; the maxima are those of both.
func (t *Toll) Add(x Toll) {
	t.Sent, t.Lost, t.Doubled = t.Sent+x.Sent, t.Lost+x.Lost, t.Doubled+x.Doubled
	t.row, t.Gap = max(t.row, x.row), max(t.Gap, x.Gap)
}

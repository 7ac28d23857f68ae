package labtest

import (
	"cmp"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/lab"
)

// StartStreams starts streams of rate packets a second in both directions between all
// pairs, and waits until packets arrive.
func (m *Mesh) StartStreams(rate int) {
	m.Helper()
	for i, a := range m.Hosts {
		for j, b := range m.Hosts {
			if i != j {
				m.Streams = append(m.Streams, m.stream(a, b, 7000+10*i+j, rate))
			}
		}
	}
	m.Settle()
}

// Settle waits until no stream has lost a packet for half a second.
func (m *Mesh) Settle() {
	m.Helper()
	end := time.Now().Add(90 * time.Second)
	for _, s := range m.Streams {
		for clean := false; !clean; {
			mark := s.Mark()
			time.Sleep(500 * time.Millisecond)
			t := s.between(mark, s.sent.Load())
			clean = t.Sent > 0 && t.Lost == 0
			if !clean && time.Now().After(end) {
				m.Fatalf("nothing flows from %s to %s: %v%s", s.From, s.To, t, s.Reasons())
			}
		}
	}
}

// During runs f, waits until nothing is lost any more, and returns what that cost each
// stream.
func (m *Mesh) During(f func()) []Toll {
	m.Helper()
	marks := make([]uint64, len(m.Streams))
	for i, s := range m.Streams {
		marks[i] = s.Mark()
	}
	f()
	m.again(marks)
	tolls := make([]Toll, len(m.Streams))
	for i, s := range m.Streams {
		tolls[i] = s.between(marks[i], s.sent.Load())
	}
	return tolls
}

// again waits until everything sent in the last half second has arrived. Unlike Settle it
// sets no mark, because gaps are counted from the marks.
func (m *Mesh) again(marks []uint64) {
	m.Helper()
	for end := time.Now().Add(90 * time.Second); ; {
		begin := make([]uint64, len(m.Streams))
		for i, s := range m.Streams {
			begin[i] = s.sent.Load()
		}
		time.Sleep(500 * time.Millisecond)
		lost := 0
		for i, s := range m.Streams {
			lost += s.between(begin[i], s.sent.Load()).Lost
		}
		if lost == 0 {
			return
		}
		if time.Now().After(end) {
			for i, s := range m.Streams {
				m.Errorf("%s to %s: %v%s", s.From, s.To, s.between(marks[i], s.sent.Load()), s.Reasons())
			}
			m.Fatal("the streams do not recover")
		}
	}
}

// Still checks that the laboratory itself loses nothing.
func (m *Mesh) Still() {
	m.Helper()
	for i, t := range m.During(func() { time.Sleep(2 * time.Second) }) {
		s := m.Streams[i]
		m.Logf("%s to %s, nothing changes: %v", s.From, s.To, t)
		if t.Lost > 0 || t.Doubled > 0 {
			m.Errorf("%s to %s: %v%s while nothing changes", s.From, s.To, t, s.Reasons())
		}
	}
}

// Flowing reports whether everything that is sent in a fifth of a second arrives.
func (m *Mesh) Flowing() bool {
	begin := make([]uint64, len(m.Streams))
	for i, s := range m.Streams {
		begin[i] = s.sent.Load()
	}
	time.Sleep(200 * time.Millisecond)
	end := make([]uint64, len(m.Streams))
	for i, s := range m.Streams {
		end[i] = s.sent.Load()
	}
	time.Sleep(100 * time.Millisecond)
	for i, s := range m.Streams {
		if t := s.counted(begin[i], end[i]); t.Sent == 0 || t.Lost > 0 {
			return false
		}
	}
	return true
}

// stream sends rate packets a second from a to b until the test ends. The INSIDE addresses
// are the hosts'; the port is unique to the pair of sockets.
func (m *Mesh) stream(a, b *lab.Host, port, rate int) *Stream {
	m.Helper()
	aPort := netip.AddrPortFrom(m.Inside(a), uint16(port))
	bPort := netip.AddrPortFrom(m.Inside(b), uint16(port))
	from, to := m.udp(a, aPort, bPort), m.udp(b, bPort, aPort)
	setUDP(m.T, from, unix.UDP_SEGMENT, packetSize)
	setUDP(m.T, to, unix.UDP_GRO, 1)
	s := &Stream{From: a.Name(), To: b.Name(), refused: map[string]int{}, every: time.Millisecond,
		atOnce: cmp.Or(m.AtOnce, MostAtOnce)}
	if len(m.Hosts) > 3 {
		s.every = 4 * time.Millisecond // twenty streams would keep the machine busy
	}
	go s.receive(to)
	go s.send(from, rate)
	return s
}

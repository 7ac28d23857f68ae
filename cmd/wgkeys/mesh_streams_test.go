package main

import (
	"cmp"
	"net/netip"
	"time"
	"wgkeys/deploy/lab"

	"golang.org/x/sys/unix"
)

// flow begins streams both ways between all pairs, and waits until they do.
func (m *mesh) flow(rate int) {
	m.t.Helper()
	for i, a := range m.hosts {
		for j, b := range m.hosts {
			if i != j {
				m.streams = append(m.streams, m.stream(a, b, 7000+10*i+j, rate))
			}
		}
	}
	m.settle()
}

// settle waits until all streams come whole for half a second.
func (m *mesh) settle() {
	m.t.Helper()
	end := time.Now().Add(90 * time.Second)
	for _, s := range m.streams {
		for clean := false; !clean; {
			mark := s.mark()
			time.Sleep(500 * time.Millisecond)
			t := s.between(mark, s.sent.Load())
			clean = t.sent > 0 && t.lost == 0
			if !clean && time.Now().After(end) {
				m.t.Fatalf("nothing flows from %s to %s: %v%s", s.from, s.to, t, s.reasons())
			}
		}
	}
}

// during tells what f has cost each stream, up to when all is well again.
func (m *mesh) during(f func()) []toll {
	m.t.Helper()
	marks := make([]uint64, len(m.streams))
	for i, s := range m.streams {
		marks[i] = s.mark()
	}
	f()
	m.again(marks)
	tolls := make([]toll, len(m.streams))
	for i, s := range m.streams {
		tolls[i] = s.between(marks[i], s.sent.Load())
	}
	return tolls
}

// again waits until what was sent in the last half second has come. Unlike
// settle it does not mark, for the gaps are those since the marks.
func (m *mesh) again(marks []uint64) {
	m.t.Helper()
	for end := time.Now().Add(90 * time.Second); ; {
		begin := make([]uint64, len(m.streams))
		for i, s := range m.streams {
			begin[i] = s.sent.Load()
		}
		time.Sleep(500 * time.Millisecond)
		lost := 0
		for i, s := range m.streams {
			lost += s.between(begin[i], s.sent.Load()).lost
		}
		if lost == 0 {
			return
		}
		if time.Now().After(end) {
			for i, s := range m.streams {
				m.t.Errorf("%s to %s: %v%s", s.from, s.to, s.between(marks[i], s.sent.Load()), s.reasons())
			}
			m.t.Fatal("the streams do not recover")
		}
	}
}

// still sees that the laboratory itself loses nothing.
func (m *mesh) still() {
	m.t.Helper()
	for i, t := range m.during(func() { time.Sleep(2 * time.Second) }) {
		s := m.streams[i]
		m.t.Logf("%s to %s, nothing changes: %v", s.from, s.to, t)
		if t.lost > 0 || t.doubled > 0 {
			m.t.Errorf("%s to %s: %v%s while nothing changes", s.from, s.to, t, s.reasons())
		}
	}
}

// flowing reports whether all that is sent in a fifth of a second comes.
func (m *mesh) flowing() bool {
	begin := make([]uint64, len(m.streams))
	for i, s := range m.streams {
		begin[i] = s.sent.Load()
	}
	time.Sleep(200 * time.Millisecond)
	end := make([]uint64, len(m.streams))
	for i, s := range m.streams {
		end[i] = s.sent.Load()
	}
	time.Sleep(100 * time.Millisecond)
	for i, s := range m.streams {
		if t := s.counted(begin[i], end[i]); t.sent == 0 || t.lost > 0 {
			return false
		}
	}
	return true
}

// stream sends rate packets a second from a to b until the test ends. The INSIDE
// addresses are the hosts', port makes the pair of sockets its own.
func (m *mesh) stream(a, b *lab.Host, port, rate int) *numbered {
	m.t.Helper()
	aPort := netip.AddrPortFrom(m.inside(a), uint16(port))
	bPort := netip.AddrPortFrom(m.inside(b), uint16(port))
	from, to := m.udp(a, aPort, bPort), m.udp(b, bPort, aPort)
	setUDP(m.t, from, unix.UDP_SEGMENT, packetSize)
	setUDP(m.t, to, unix.UDP_GRO, 1)
	s := &numbered{from: a.Name(), to: b.Name(), refused: map[string]int{}, every: time.Millisecond, atOnce: cmp.Or(m.atOnce, mostAtOnce)}
	if len(m.hosts) > 3 {
		s.every = 4 * time.Millisecond // twenty streams would be all that the machine does
	}
	go s.receive(to)
	go s.send(from, rate)
	return s
}

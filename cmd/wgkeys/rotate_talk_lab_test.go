package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// One TCP connection and one ssh session through the tunnel live through fifty
// rotations, and so do the packets beside them.
func TestLabRotateKeepsConnections(t *testing.T) {
	if !long("rotations") {
		t.Skip("for make rotations")
	}
	for _, b := range backends() {
		t.Run(string(b), func(t *testing.T) {
			b.use(t)
			m := newMesh(t, meshOptions{hosts: 2, roundTrip: someWay})
			talks := []*talk{m.overTCP(), m.overSSH()}
			m.flow(500)
			m.still()
			m.rotateInTurn(50)
			for _, x := range talks {
				x.end(t)
			}
		})
	}
}

// A talk is lines that one end sends and the other says back, one at a time.
type talk struct {
	over  string
	io    io.ReadWriteCloser
	mu    sync.Mutex
	lines int
	worst time.Duration // the longest that an answer has taken
	err   error
	done  chan struct{}
}

func (m *mesh) talk(over string, way io.ReadWriteCloser) *talk {
	m.t.Helper()
	x := &talk{over: over, io: way, done: make(chan struct{})}
	m.t.Cleanup(func() { way.Close() })
	go x.run()
	for range 1000 {
		if x.said() > 0 {
			return x
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.t.Fatalf("no answer over %s", over)
	return nil
}

func (x *talk) run() {
	defer close(x.done)
	in := bufio.NewReader(x.io)
	for n := 0; ; n++ {
		line := fmt.Sprintf("%d\n", n)
		start := time.Now()
		_, err := io.WriteString(x.io, line)
		var got string
		if err == nil {
			got, err = in.ReadString('\n')
		}
		if err == nil && got != line {
			err = fmt.Errorf("%q came back for %q", got, line)
		}
		x.mu.Lock()
		if x.err = err; err == nil {
			x.lines, x.worst = n+1, max(x.worst, time.Since(start))
		}
		x.mu.Unlock()
		if err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (x *talk) said() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.lines
}

// end fails where the connection has not lived up to now.
func (x *talk) end(t *testing.T) {
	t.Helper()
	before := x.said()
	time.Sleep(2 * time.Second)
	x.mu.Lock()
	defer x.mu.Unlock()
	t.Logf("over %s: %d lines and their answers, the longest took %v", x.over, x.lines, x.worst.Round(time.Millisecond))
	if x.err != nil || x.lines == before {
		t.Errorf("over %s: the connection did not live: %v", x.over, x.err)
	}
}

// overTCP connects the first host with the second, INSIDE, where everything is
// said back.
func (m *mesh) overTCP() *talk {
	m.t.Helper()
	at := netip.AddrPortFrom(m.inside(m.hosts[1]), 7007).String()
	l := inNetwork(m.t, m.hosts[1], func() (net.Listener, error) { return net.Listen("tcp", at) })
	m.t.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	return m.talk("TCP", inNetwork(m.t, m.hosts[0], func() (net.Conn, error) { return net.Dial("tcp", at) }))
}

// overSSH logs in from the first host at the second, INSIDE.
func (m *mesh) overSSH() *talk {
	m.t.Helper()
	cmd := m.hosts[0].Command(m.t.Context(), "ssh", "root@"+m.inside(m.hosts[1]).String(), "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	return m.talk("ssh", &session{out, in})
}

// A session is the two ends of a program.
type session struct {
	io.Reader
	io.WriteCloser
}

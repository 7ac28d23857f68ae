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

	"wgkeys/cmd/internal/labtest"
)

// One TCP connection and one ssh session through the tunnel live through fifty
// rotations, and so do the packets beside them.
func TestLabRotateKeepsConnections(t *testing.T) {
	if !long("rotations") {
		t.Skip("for make rotations")
	}
	for _, b := range labtest.Backends() {
		t.Run(string(b), func(t *testing.T) {
			b.Use(t)
			m := newMesh(t, labtest.MeshOptions{Hosts: 2, RoundTrip: someWay})
			talks := []*talk{talkOverTCP(m), talkOverSSH(m)}
			m.StartStreams(500)
			m.Still()
			rotateOneByOne(m, 50)
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

func newTalk(m *labtest.Mesh, over string, way io.ReadWriteCloser) *talk {
	m.Helper()
	x := &talk{over: over, io: way, done: make(chan struct{})}
	m.Cleanup(func() { way.Close() })
	go x.run()
	for range 1000 {
		if x.said() > 0 {
			return x
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.Fatalf("no answer over %s", over)
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

// talkOverTCP connects the first host with the second, INSIDE, where everything is
// said back.
func talkOverTCP(m *labtest.Mesh) *talk {
	m.Helper()
	at := netip.AddrPortFrom(m.Inside(m.Hosts[1]), 7007).String()
	l := labtest.InNetwork(m.T, m.Hosts[1], func() (net.Listener, error) { return net.Listen("tcp", at) })
	m.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	return newTalk(m, "TCP", labtest.InNetwork(m.T, m.Hosts[0], func() (net.Conn, error) { return net.Dial("tcp", at) }))
}

// talkOverSSH logs in from the first host at the second, INSIDE.
func talkOverSSH(m *labtest.Mesh) *talk {
	m.Helper()
	cmd := m.Hosts[0].Command(m.Context(), "ssh", "root@"+m.Inside(m.Hosts[1]).String(), "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		m.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { cmd.Wait() })
	return newTalk(m, "ssh", &session{out, in})
}

// A session is the two ends of a program.
type session struct {
	io.Reader
	io.WriteCloser
}

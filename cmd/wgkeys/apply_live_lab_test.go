package main

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// A change of the configuration interrupts nothing that does not change: a
// stream through the tunnel loses no byte and does not stall, and the session
// under it stays.
func TestLabApplyLiveChanges(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Must(u.Basalt, "wgkeys apply shale && wgkeys apply")
	s := startStream(u)
	// On a busy machine the first handshake may be begun twice, REKEY_TIMEOUT later. wg(8) tells
	// them apart by the second.
	time.Sleep(6 * time.Second)
	handshake := u.Must(u.Basalt, "wg show wg0 latest-handshakes")

	for _, h := range []string{"basalt", "shale"} {
		u.Must(u.Basalt, "wgkeys apply "+h)
		if r := u.Run(u.Basalt, "wgkeys plan "+h); r.Code != 0 || r.Stdout != "" {
			t.Errorf("the second plan for %s exits %d and has steps:\n%s", h, r.Code, r.Stdout)
		}
	}
	u.Must(u.Basalt, "wgkeys gen flint")
	for _, change := range []struct{ name, text, shows string }{
		{"keepalive", demo.FirstTunnel + "keepalive = 25\n", "persistent-keepalive 25"},
		{"peer", demo.FirstTunnel + flint, "allowed-ips +2001:db8:7767::3/128"},
		{"route", demo.FirstTunnel + flint + "routes = [\"2001:db8:cccc::/48\"]\n", "ip -6 route add 2001:db8:cccc::/48"},
		{"another's mtu", demo.FirstTunnel + flint + "routes = [\"2001:db8:cccc::/48\"]\nmtu = 1300\n", ""},
		{"own mtu", demo.FirstTunnel + "mtu = 1300\n" + flint + "routes = [\"2001:db8:cccc::/48\"]\n",
			"ip link set wg0 mtu 1300"},
		{"back", demo.FirstTunnel, "remove"},
	} {
		u.Tunnel(change.text)
		var said string
		for _, h := range []string{"shale", "basalt"} {
			said += u.Must(u.Basalt, "wgkeys apply "+h)
		}
		if !strings.Contains(said, change.shows) || change.shows == "" && said != "" {
			t.Errorf("%s: no %q in\n%s", change.name, change.shows, said)
		}
	}
	received, gap := s.stop()
	t.Logf("%d bytes, the longest gap %v", received, gap.Round(time.Millisecond))
	// Its session lost, a peer would wait five seconds and more for the next
	// (REKEY_TIMEOUT); a lost packet is sent again after 0.2 s.
	if gap > 1500*time.Millisecond {
		t.Errorf("the stream stalled for %v", gap)
	}
	if now := u.Must(u.Basalt, "wg show wg0 latest-handshakes"); now != handshake {
		t.Errorf("the session did not stay: %s, then %s", handshake, now)
	}
}

const flint = `
[hosts.flint]
endpoint  = "192.0.2.77"
addresses = ["2001:db8:7767::3/128"]
`

// A stream is numbers that the internet sends to basalt, through the tunnel,
// one after the other.
type stream struct {
	t        *testing.T
	end      func()
	received atomic.Int64
	gap      time.Duration
	done     chan struct{}
}

// startStream returns when the first bytes have come.
func startStream(u *labtest.Users) *stream {
	u.Helper()
	listener := labtest.InNetwork(u.T, u.Router,
		func() (net.Listener, error) { return net.Listen("tcp6", "["+demo.Internet+"]:7767") })
	go send(listener)
	conn := labtest.InNetwork(u.T, u.Basalt, func() (net.Conn, error) {
		return net.DialTimeout("tcp6", "["+demo.Internet+"]:7767", 15*time.Second)
	})
	s := &stream{t: u.T, done: make(chan struct{}), end: func() { conn.Close(); listener.Close() }}
	u.Cleanup(s.end)
	go s.receive(conn)
	err := lab.Until(u.Context(), "the stream", func(context.Context) (bool, error) {
		return s.received.Load() > 1<<16, nil
	})
	if err != nil {
		u.Fatal(err)
	}
	return s
}

func send(l net.Listener) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	chunk := make([]byte, 0, 1024)
	for n := uint64(0); ; {
		chunk = chunk[:0]
		for range cap(chunk) / 8 {
			chunk = binary.BigEndian.AppendUint64(chunk, n)
			n++
		}
		if _, err := c.Write(chunk); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *stream) receive(c net.Conn) {
	defer close(s.done)
	var number [8]byte
	last := time.Now()
	for n := uint64(0); ; n++ {
		if _, err := io.ReadFull(c, number[:]); err != nil {
			return
		}
		if got := binary.BigEndian.Uint64(number[:]); got != n {
			s.t.Errorf("number %d came where %d was due", got, n)
			return
		}
		now := time.Now()
		s.gap = max(s.gap, now.Sub(last))
		last = now
		s.received.Add(8)
	}
}

// stop waits for more of the stream and returns what it has seen of it. A
// stream that ended by itself, or never goes on, fails the test.
func (s *stream) stop() (received int64, gap time.Duration) {
	s.t.Helper()
	was := s.received.Load()
	if err := lab.Until(s.t.Context(), "more of the stream", func(context.Context) (bool, error) {
		return s.received.Load() > was, nil
	}); err != nil {
		s.t.Error(err)
	}
	s.end()
	<-s.done
	return s.received.Load(), s.gap
}

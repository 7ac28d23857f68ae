package device

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"wgkeys/deploy/apply/linux/hold/pace"
)

const (
	// holdMost is the longest time for which packets are held, whoever asks for it: later
	// they are useless to their sender.
	holdMost = 3 * time.Second

	// heldMost is how many packets are held at most. Any more wait in the kernel's queue of
	// the interface.
	heldMost = 50_000
)

// holdSocket returns the path of the socket on which the device takes requests to hold
// packets. It is not in the directory of [Socket], because wg(8) takes every name there for
// a device.
func holdSocket(name string) string { return "/run/wgkeys/" + name + ".hold" }

// A Hold makes a device of ours keep the packets that are sent into its interface for a
// moment. A host whose kernel can queue packets for a program does not need it.
type Hold struct{ conn *net.UnixConn }

// NewHold connects to the device of interface name. The error is [fs.ErrNotExist] if the
// interface has no device of ours.
func NewHold(name string) (*Hold, error) {
	c, err := net.Dial("unix", holdSocket(name))
	if errors.Is(err, unix.ECONNREFUSED) { // the device was killed
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	return &Hold{c.(*net.UnixConn)}, nil
}

// Begin holds what is sent from now on, for three seconds at most. If this process dies,
// the packets flow again.
func (h *Hold) Begin() error {
	h.conn.SetDeadline(time.Now().Add(holdMost))
	if _, err := h.conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err := h.conn.Read(make([]byte, 1))
	return err
}

// End releases the packets in their order. Without a Begin it only closes the connection.
func (h *Hold) End() error { return h.conn.Close() }

// A gate is a TUN interface whose packets can be held before they reach the device. They
// are read meanwhile, because the kernel's queue is short.
type gate struct {
	tun.Device
	mu      sync.Mutex
	holders int
	held    [][]byte
	begun   time.Time  // when the first holder came
	came    int        // how many packets came since then
	bytes   int        // their total length
	pace    *pace.Pace // at which they are released
	last    time.Time  // when some were last released
}

// Read implements [tun.Device]. While packets are held it reads with a deadline of a
// millisecond, after which a portion of them is released.
func (g *gate) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for {
		n, err := g.Device.Read(bufs, sizes, offset)
		late := errors.Is(err, os.ErrDeadlineExceeded)
		if late {
			n, err = 0, nil
		}
		if !g.keep(bufs[:n], sizes, offset) {
			if late {
				g.until(time.Time{})
				continue
			}
			return n, err
		}
		if err != nil {
			return 0, err
		}
		if late {
			if n := g.letGo(bufs, sizes, offset); n > 0 {
				return n, nil
			}
		}
	}
}

// keep stores what was read. It reports false if nothing is held or to be held, so that the
// caller passes the packets on. While the store is full it waits, so that the rest stays in
// the kernel's queue.
func (g *gate) keep(bufs [][]byte, sizes []int, offset int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.holders > 0 && len(g.held) >= heldMost {
		g.mu.Unlock()
		time.Sleep(time.Millisecond)
		g.mu.Lock()
	}
	if g.holders == 0 && len(g.held) == 0 {
		return false
	}
	for i, b := range bufs {
		g.held = append(g.held, append([]byte(nil), b[offset:offset+sizes[i]]...))
		g.came, g.bytes = g.came+1, g.bytes+sizes[i]
	}
	return true
}

// letGo returns a portion of the packets if there is no holder any more, and sets the
// deadline for the next portion.
func (g *gate) letGo(bufs [][]byte, sizes []int, offset int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holders > 0 {
		g.until(time.Time{}) // until open sets a deadline
		return 0
	}
	if now := time.Now(); now.Sub(g.last) >= time.Millisecond {
		g.pace.Elapse(now.Sub(g.last))
		g.last = now
	}
	n := 0
	for n < min(len(g.held), len(bufs)) && g.pace.Allow(len(g.held[n])) {
		sizes[n] = copy(bufs[n][offset:], g.held[n])
		n++
	}
	switch g.held = g.held[n:]; {
	case len(g.held) == 0:
		g.held = nil
		g.pace.Reset()
		g.until(time.Time{})
	case n == len(bufs): // more may go than fits into one Read
		g.until(time.Now())
	default:
		g.until(g.last.Add(time.Millisecond))
	}
	return n
}

// until sets the deadline of a Read that finds nothing to read.
func (g *gate) until(t time.Time) { g.File().SetReadDeadline(t) }

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holders++; g.holders == 1 {
		g.begun, g.came, g.bytes = time.Now(), 0, 0
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holders--; g.holders == 0 {
		g.pace, g.last = pace.New(g.came, g.bytes, time.Since(g.begun)), time.Now().Add(-time.Millisecond)
		g.until(time.Now())
	}
}

// serve takes requests to hold packets, from root only.
func (g *gate) serve(name string) (net.Listener, error) {
	path := holdSocket(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by a device that was killed
		return nil, err
	}
	mask := unix.Umask(0o177)
	l, err := net.Listen("unix", path)
	unix.Umask(mask)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.obey(c)
		}
	}()
	return l, nil
}

// obey holds packets from the first byte on the connection until it is closed, or for
// holdMost.
func (g *gate) obey(c net.Conn) {
	defer c.Close()
	word := make([]byte, 1)
	if _, err := c.Read(word); err != nil {
		return
	}
	g.shut()
	defer g.open()
	c.SetDeadline(time.Now().Add(holdMost))
	if _, err := c.Write(word); err == nil {
		c.Read(word)
	}
}

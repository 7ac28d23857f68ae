package device

import (
	"errors"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// A bind wraps wireguard-go's own bind, so that no packet is lost when the port changes, or
// when wireguard-go closes the bind to open it again.
//
// Peers send to the old port until they hear from the new one. So a socket is closed some
// time after wireguard-go asked for it, and what arrives there until then is received like
// everything else.
type bind struct {
	mu      sync.Mutex
	sockets map[uint16]*sockets // by port
	current *sockets            // nil: closed
	closed  chan struct{}       // closed with the bind
	mark    uint32
	queues  [2]queue // IPv4's and IPv6's
	whole   whole    // packets that the kernel will not segment
	own     int      // the interface of the tunnel; 0: not known
	exits   exits    // by which packets leave
	changes int      // of the routes, counted
}

// sockets are the sockets of one port, for IPv4 and IPv6.
type sockets struct {
	conn.Bind
	six    conn.Bind // sends over IPv6
	port   uint16
	mark   uint32
	unused *time.Timer   // closes them
	done   chan struct{} // closed with them
}

// linger is how long unused sockets stay open. A peer that keeps sending to the old port
// hears from us after KEEPALIVE_TIMEOUT, which is 10 seconds.
const linger = 15 * time.Second

// A queue passes the packets of all ports to wireguard-go. Full batches go one way, and
// empty ones come back for reuse.
type queue struct{ full, free chan *batch }

func newBind() *bind {
	b := &bind{sockets: map[uint16]*sockets{}}
	for i := range b.queues {
		b.queues[i] = queue{make(chan *batch, 1), make(chan *batch, 4)}
	}
	return b
}

// Open implements [conn.Bind].
func (b *bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	s := b.sockets[port]
	if s == nil {
		var err error
		if s, err = b.listen(port); err != nil {
			return nil, 0, err
		}
	}
	s.unused.Stop()
	if s.mark != b.mark {
		if err := s.SetMark(b.mark); err != nil {
			return nil, 0, err
		}
	}
	b.whole = nil // the routes may have changed
	b.forgetExits()
	b.current, b.closed = s, make(chan struct{})
	var receive []conn.ReceiveFunc
	for _, q := range b.queues {
		receive = append(receive, q.receive(b.closed))
	}
	return receive, s.port, nil
}

// listen opens the sockets of a port and reads from them until they are closed.
func (b *bind) listen(port uint16) (*sockets, error) {
	std := conn.NewStdNetBind()
	if _, _, err := std.Open(port); err != nil {
		return nil, err
	}
	port = portOf(std)
	s := &sockets{Bind: std, six: another(std), port: port, done: make(chan struct{})}
	s.unused = time.AfterFunc(linger, func() { b.retire(s) })
	b.sockets[port] = s
	for i, r := range readersOf(std) { // two, or one if the host has only one family
		go b.queues[i].fill(r, s)
	}
	return s, nil
}

// another returns a second bind on the sockets of one that was just opened, with buffers of
// its own.
//
// A bind of wireguard-go reuses buffers for addresses. Into a buffer that held an IPv4
// address it copies only the first 4 bytes of an IPv6 address ([conn.StdNetBind.Send]), and
// the packet goes nowhere, or to another peer. So each family has its own buffers.
func another(std conn.Bind) conn.Bind {
	six := new(conn.StdNetBind)
	reflect.ValueOf(six).Elem().Set(reflect.ValueOf(std).Elem()) // no lock is held, no buffer in use
	return six
}

// sender returns the bind that sends to the address.
func (s *sockets) sender(to netip.Addr) conn.Bind {
	if to.Is6() {
		return s.six
	}
	return s.Bind
}

// retire closes the sockets, unless they came into use again just before the timer fired.
func (b *bind) retire(s *sockets) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s != b.current && b.sockets[s.port] == s {
		b.drop(s)
	}
}

func (b *bind) drop(s *sockets) {
	delete(b.sockets, s.port)
	close(s.done)
	s.Bind.Close()
}

// end closes all sockets at once, because the next device may want the port.
func (b *bind) end() {
	b.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sockets {
		b.drop(s)
	}
}

// Close implements [conn.Bind]. The sockets stay open for a while; see linger.
func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != nil {
		b.current.unused.Reset(linger)
		close(b.closed)
		b.current = nil
	}
	return nil
}

// Send implements [conn.Bind].
func (b *bind) Send(packets [][]byte, to conn.Endpoint) error {
	b.mu.Lock()
	s, size := b.current, b.whole.size(to.DstIP(), time.Now())
	b.mu.Unlock()
	if s == nil {
		return net.ErrClosed
	}
	to, err := b.routed(to)
	if err != nil {
		return err
	}
	refused, err := send(s.sender(to.DstIP()), packets, to, size)
	if refused > 0 {
		b.mu.Lock()
		b.whole.refuse(to.DstIP(), refused, time.Now())
		b.mu.Unlock()
	}
	return err
}

// SetMark implements [conn.Bind].
func (b *bind) SetMark(mark uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mark = mark
	b.forgetExits()
	if b.current == nil {
		return nil
	}
	return b.current.SetMark(mark)
}

// SetMark implements [conn.Bind], and keeps the mark.
func (s *sockets) SetMark(mark uint32) error {
	s.mark = mark
	return s.Bind.SetMark(mark)
}

// ParseEndpoint implements [conn.Bind].
func (b *bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	return new(conn.StdNetBind).ParseEndpoint(s)
}

// BatchSize implements [conn.Bind].
func (b *bind) BatchSize() int { return new(conn.StdNetBind).BatchSize() }

// fill reads from one socket until it is closed.
func (q queue) fill(r reader, s *sockets) {
	for {
		b := q.empty(r.datagrams)
		r.read(b)
		if errors.Is(b.err, net.ErrClosed) {
			return
		}
		select {
		case q.full <- b:
		case <-s.done:
			return
		}
	}
}

func (q queue) empty(datagrams int) *batch {
	select {
	case b := <-q.free:
		return b
	default:
		return newBatch(datagrams)
	}
}

func (q queue) giveBack(b *batch) {
	select {
	case q.free <- b:
	default: // there are enough, as after a port was closed
	}
}

// receive returns the function that wireguard-go calls until it closes the bind.
func (q queue) receive(closed <-chan struct{}) conn.ReceiveFunc {
	return func(packets [][]byte, sizes []int, endpoints []conn.Endpoint) (int, error) {
		select {
		case <-closed:
			return 0, net.ErrClosed
		case b := <-q.full:
			n, err := b.split(packets, sizes, endpoints), b.err
			q.giveBack(b)
			return n, err
		}
	}
}

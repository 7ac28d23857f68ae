package device

import (
	"bytes"
	"net/netip"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	wireguard "golang.zx2c4.com/wireguard/device"
	"wgkeys/deploy/lab/labtest"
)

// narrow moves the thread into a new network namespace whose only path has a small MTU.
func narrow(t *testing.T, mtu int) {
	t.Helper()
	labtest.OwnNetwork(t)
	if out, err := exec.Command("ip", "link", "set", "lo", "mtu", strconv.Itoa(mtu), "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// A counter counts calls of Send and keeps the packets of the last one.
type counter struct {
	conn.Bind
	calls int
	last  [][]byte
}

func (c *counter) Send(packets [][]byte, to conn.Endpoint) error {
	c.calls, c.last = c.calls+1, packets
	return c.Bind.Send(packets, to)
}

// joinable reports whether wireguard-go may append the second packet to the first.
func (c *counter) joinable() bool { return cap(c.last[0]) >= len(c.last[0])+len(c.last[1]) }

// Packets that are longer than the path MTU all arrive in order, in both families. The
// kernel is not asked to cut packets of that size again, but it still cuts shorter ones.
func TestTooLongToCut(t *testing.T) {
	const mtu, count = 1400, 16
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			narrow(t, mtu)
			to := conn.NewDefaultBind()
			receive, port, err := to.Open(0)
			if err != nil {
				t.Fatal(err)
			}
			defer to.Close()
			from := newBind()
			if _, _, err := from.Open(0); err != nil {
				t.Fatal(err)
			}
			defer from.end()
			listening := from.current // the reader keeps using these
			spy := &counter{Bind: listening.Bind}
			from.current = &sockets{Bind: spy, six: spy, port: listening.port, mark: listening.mark, unused: listening.unused,
				done: listening.done}
			family := 0
			if host == "::1" {
				family = 1
			}
			end := netip.AddrPortFrom(netip.MustParseAddr(host), port)
			endpoint, err := from.ParseEndpoint(end.String())
			if err != nil {
				t.Fatal(err)
			}
			for i, step := range []struct {
				size, calls int
				joined      bool
			}{
				{1300, 1, true}, // fits
				{1390, 2, false},
				{1390, 1, false},
				{1395, 1, false},
				{1300, 1, true},
			} {
				spy.calls = 0
				sent := numbered(count, step.size)
				if err := from.Send(sent, endpoint); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				if spy.calls != step.calls || spy.joinable() != step.joined {
					t.Errorf("step %d: %d bytes: sent %d times, joined %v", i, step.size, spy.calls, spy.joinable())
				}
				want(t, receive[family], numbered(count, step.size))
			}
		})
	}
}

// numbered returns packets as wireguard-go makes them, with spare capacity after each.
func numbered(n, size int) [][]byte {
	packets := make([][]byte, n)
	for i := range packets {
		packets[i] = bytes.Repeat([]byte{byte(i)}, size)
		packets[i] = append(make([]byte, 0, wireguard.MaxMessageSize), packets[i]...)
	}
	return packets
}

func want(t *testing.T, receive conn.ReceiveFunc, packets [][]byte) {
	t.Helper()
	bufs, sizes, from := make([][]byte, conn.IdealBatchSize), make([]int, conn.IdealBatchSize),
		make([]conn.Endpoint, conn.IdealBatchSize)
	for i := range bufs {
		bufs[i] = make([]byte, wireguard.MaxMessageSize)
	}
	for got := 0; got < len(packets); {
		n, err := receive(bufs, sizes, from)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if got == len(packets) || !bytes.Equal(bufs[i][:sizes[i]], packets[got]) {
				t.Fatalf("packet %d: %d bytes that begin with %v", got, sizes[i], bufs[i][:min(1, sizes[i])])
			}
			got++
		}
	}
}

// A refusal counts for its address and for a limited time. Other errors are not refusals.
func TestRefusals(t *testing.T) {
	now := time.Unix(1, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var w whole
	if w.size(a, now) != 0 {
		t.Error("refused before anything was sent")
	}
	w.refuse(a, 1480, now)
	if w.size(a, now) != 1480 || w.size(b, now) != 0 || w.size(a, now.Add(remember)) != 0 {
		t.Errorf("%v", w)
	}
	w.refuse(a, 1460, now)
	if w.size(a, now) != 1460 {
		t.Errorf("%v", w)
	}
	for i := range 3 * mostRefusals {
		w.refuse(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1, now)
	}
	if len(w) > mostRefusals {
		t.Errorf("remembers %d", len(w))
	}
	failing := &refuser{}
	if refused, err := send(failing, numbered(2, 1000), nil, 0); refused != 0 || err != unix.EINVAL || failing.calls != 2 {
		t.Errorf("refused %d, %v after %d calls", refused, err, failing.calls)
	}
}

// A refuser fails to send, as if the source address were gone.
type refuser struct {
	conn.Bind
	calls int
}

func (r *refuser) Send([][]byte, conn.Endpoint) error { r.calls++; return unix.EINVAL }

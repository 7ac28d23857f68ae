package device

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	wireguard "golang.zx2c4.com/wireguard/device"
)

// A receiver uses a bind as wireguard-go does, and counts the numbered packets that arrive.
type receiver struct {
	conn.Bind
	mu   sync.Mutex
	seen map[uint64]int
	ends sync.WaitGroup
}

func (r *receiver) open(t testing.TB, port uint16) uint16 {
	t.Helper()
	receive, port, err := r.Open(port)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range receive {
		r.ends.Go(func() { r.read(f) })
	}
	return port
}

func (r *receiver) read(receive conn.ReceiveFunc) {
	size := r.BatchSize()
	packets, sizes, endpoints := make([][]byte, size), make([]int, size), make([]conn.Endpoint, size)
	for i := range packets {
		packets[i] = make([]byte, wireguard.MaxMessageSize)
	}
	for {
		n, err := receive(packets, sizes, endpoints)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		r.mu.Lock()
		for i := range n {
			if sizes[i] >= 8 && endpoints[i] != nil {
				r.seen[binary.BigEndian.Uint64(packets[i])]++
			}
		}
		r.mu.Unlock()
	}
}

func (r *receiver) close(t testing.TB) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.ends.Wait() // as closeBindLocked does
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// Packets to the old port arrive once, while wireguard-go changes to a new port and
// afterwards; so do packets that arrive while it has the bind closed.
func TestBindLosesNothing(t *testing.T) {
	for _, network := range []string{"udp4", "udp6"} {
		t.Run(network, func(t *testing.T) {
			r := &receiver{Bind: newBind(), seen: map[uint64]int{}}
			first := r.open(t, 0)
			stop, sent := sendNumbers(t, network, first)
			second := uint16(0)
			for range 20 {
				time.Sleep(5 * time.Millisecond)
				r.close(t)
				time.Sleep(time.Millisecond)
				second = r.open(t, second) // a new port the first time, and then the same
			}
			r.close(t)
			r.open(t, first) // and back
			time.Sleep(5 * time.Millisecond)
			stop()
			for end := time.Now().Add(5 * time.Second); r.count() < int(sent.Load()) && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			r.close(t)
			if second == first {
				t.Errorf("port %d twice", first)
			}
			for n := range sent.Load() {
				if times := r.seen[n]; times != 1 {
					t.Errorf("packet %d of %d came %d times", n, sent.Load(), times)
				}
			}
		})
	}
}

// sendNumbers sends numbered packets to a port of this host until stop is called.
func sendNumbers(t *testing.T, network string, port uint16) (stop func(), sent *atomic.Uint64) {
	t.Helper()
	host := map[string]string{"udp4": "127.0.0.1", "udp6": "::1"}[network]
	c, err := net.Dial(network, net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		t.Skip(err) // a host without IPv6
	}
	sent = new(atomic.Uint64)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer c.Close()
		tick := time.NewTicker(50 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			if _, err := c.Write(binary.BigEndian.AppendUint64(nil, sent.Load())); err != nil {
				t.Errorf("packet %d: %v", sent.Load(), err) // ECONNREFUSED: nobody listens
			}
			sent.Add(1)
		}
	}()
	return func() { close(end); <-ended }, sent
}

// Packets to peers of both families arrive, in whatever order they are sent.
func TestBindSendsToBothFamilies(t *testing.T) {
	ownNetwork(t)
	addLocal(t, "2001:db8:b::1")
	r := &receiver{Bind: newBind(), seen: map[uint64]int{}}
	port := r.open(t, 0)
	b := newBind()
	if _, _, err := b.Open(0); err != nil {
		t.Fatal(err)
	}
	defer b.end()
	const packets = 100
	for n := range uint64(packets) {
		to, err := b.ParseEndpoint(fmt.Sprintf("%s:%d", []string{"127.0.0.1", "[2001:db8:b::1]"}[n%2], port))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Send([][]byte{binary.BigEndian.AppendUint64(nil, n)}, to); err != nil {
			t.Errorf("packet %d to %s: %v", n, to.DstToString(), err)
		}
	}
	for end := time.Now().Add(5 * time.Second); r.count() < packets && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	r.close(t)
	for n := range uint64(packets) {
		if r.seen[n] != 1 {
			t.Errorf("packet %d came %d times", n, r.seen[n])
		}
	}
}

// A host without IPv6 keeps the port that it was given, and the one that it chose.
func TestBindWithoutIPv6(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		refuseIPv6(t) // this thread alone, which ends with the goroutine
		b := newBind()
		var port uint16
		for range 3 { // any, the same again, and the same of another device
			asked := port
			_, got, err := b.Open(asked)
			if err != nil || got == 0 || asked != 0 && got != asked {
				t.Errorf("asked for port %d, got %d, %v", asked, got, err)
			}
			if port = got; asked != 0 {
				b.end()
				b = newBind()
			}
			b.Close()
		}
		b.end()
	}()
	<-done
}

// refuseIPv6 locks the goroutine to its thread, and has the kernel answer requests of this
// thread for an IPv6 socket as it does on a host with ipv6.disable=1.
func refuseIPv6(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // its first argument
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.AF_INET6, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Error(err)
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		t.Error(errno)
	}
	if _, err := net.ListenUDP("udp6", nil); !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("an IPv6 socket: %v", err)
	}
}

// The old port is free again after a while.
func TestBindLetsGo(t *testing.T) {
	b := newBind()
	r := &receiver{Bind: b, seen: map[uint64]int{}}
	first := r.open(t, 0)
	r.close(t)
	second := r.open(t, 0)
	b.mu.Lock()
	old, now := b.sockets[first], b.sockets[second]
	b.mu.Unlock()
	b.retire(now) // in use
	b.retire(old)
	if !isFree(first) || isFree(second) {
		t.Errorf("the old port is free: %v; the new one: %v", isFree(first), isFree(second))
	}
	b.end()
	r.ends.Wait()
	if !isFree(second) {
		t.Error("the port of a device that has ended is not free")
	}
}

func isFree(port uint16) bool {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// BenchmarkBind compares the cost of this bind with that of wireguard-go's own: batches of
// packets over the loopback interface, with a few on their way.
func BenchmarkBind(b *testing.B) {
	b.Run("ours", func(b *testing.B) { benchmarkBind(b, newBind()) })
	b.Run("wireguard-go's", func(b *testing.B) { benchmarkBind(b, conn.NewDefaultBind()) })
}

func benchmarkBind(b *testing.B, to conn.Bind) {
	from := conn.NewDefaultBind()
	_, _, err := from.Open(0)
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	receive, port, err := to.Open(0)
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	endpoint, err := to.ParseEndpoint(fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		b.Fatal(err)
	}
	const batch, size, window = 128, 1452, 4
	arrived := make(chan int, 1024)
	go func() {
		packets, sizes, endpoints := make([][]byte, batch), make([]int, batch), make([]conn.Endpoint, batch)
		for i := range packets {
			packets[i] = make([]byte, wireguard.MaxMessageSize)
		}
		for {
			n, err := receive[0](packets, sizes, endpoints)
			if err != nil {
				return
			}
			arrived <- n
		}
	}()
	packets := make([][]byte, batch)
	b.SetBytes(batch * size)
	for i := range packets {
		packets[i] = make([]byte, size, wireguard.MaxMessageSize)
	}
	onTheirWay := 0
	for b.Loop() {
		if err := from.Send(packets, endpoint); err != nil {
			b.Fatal(err)
		}
		for onTheirWay += batch; onTheirWay > window*batch; {
			onTheirWay -= <-arrived
		}
	}
}

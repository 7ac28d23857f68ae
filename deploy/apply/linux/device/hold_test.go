package device

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"wgkeys/deploy/lab/labtest"
)

// A pipe is an interface into which a test writes packets. With O_DIRECT the kernel keeps
// them apart (pipe(2)).
type pipe struct {
	tun.Device
	in, out *os.File
}

func newPipe(t *testing.T) pipe {
	t.Helper()
	fd := make([]int, 2)
	if err := unix.Pipe2(fd, unix.O_DIRECT|unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	p := pipe{in: os.NewFile(uintptr(fd[1]), "in"), out: os.NewFile(uintptr(fd[0]), "out")}
	t.Cleanup(func() { p.in.Close(); p.out.Close() })
	return p
}

func (p pipe) File() *os.File { return p.out }

func (p pipe) Read(bufs [][]byte, sizes []int, offset int) (n int, err error) {
	sizes[0], err = p.out.Read(bufs[0][offset:])
	return 1, err
}

// hear returns the numbers of the packets that reach the device, until the interface is
// closed.
func hear(g *gate) <-chan uint64 {
	heard := make(chan uint64, 1<<20)
	go func() {
		defer close(heard)
		bufs, sizes := make([][]byte, 128), make([]int, 128)
		for i := range bufs {
			bufs[i] = make([]byte, 64)
		}
		for {
			n, err := g.Read(bufs, sizes, 16)
			if errors.Is(err, os.ErrClosed) {
				return
			}
			for i := range n {
				heard <- binary.BigEndian.Uint64(bufs[i][16:])
			}
		}
	}()
	return heard
}

// TestGate holds packets several times while they are sent: each arrives once and in order,
// and none while they are held.
func TestGate(t *testing.T) {
	p := newPipe(t)
	g := &gate{Device: p}
	heard := hear(g)
	const holds = 20
	var sent, want uint64
	send := func(n int) {
		for range n {
			if _, err := p.in.Write(binary.BigEndian.AppendUint64(nil, sent)); err != nil {
				t.Fatal(err)
			}
			sent++
		}
	}
	whole := func() {
		t.Helper()
		for ; want < sent; want++ {
			if got := <-heard; got != want {
				t.Fatalf("packet %d came for %d", got, want)
			}
		}
	}
	for range holds {
		send(50)
		whole()
		g.shut()
		send(500)
		select {
		case got := <-heard:
			t.Fatalf("packet %d came while all were held", got)
		case <-time.After(20 * time.Millisecond):
		}
		g.open()
		send(100) // while the held ones are released
	}
	whole()
}

// TestHoldEnds: packets are released when the connection of the hold is closed.
func TestHoldEnds(t *testing.T) {
	if os.Geteuid() != 0 {
		labtest.Missing(t, "only root has /run/wgkeys")
	}
	runtime.LockOSThread() // never given back
	if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", "/run", "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	p := newPipe(t)
	g := &gate{Device: p}
	heard := hear(g)
	const name = "wgkeystest"
	l, err := g.serve(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h, err := NewHold(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Begin(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Write(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-heard:
		t.Error("a packet came while all were held")
	case <-time.After(50 * time.Millisecond):
	}
	h.End()
	<-heard
	if info, err := os.Stat(holdSocket(name)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others than root may hold packets", info, err)
	}
	l.Close()
	if _, err := NewHold(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a device: %v", err)
	}
}

// TestHoldIsOver: a sender that waits for answers, as TCP does, is blocked by a hold and
// sends as fast as it can afterwards. The release still catches up.
func TestHoldIsOver(t *testing.T) {
	p := newPipe(t)
	g := &gate{Device: p}
	heard := hear(g)
	const window = 200
	send := func() {
		if _, err := p.in.Write(make([]byte, 8)); err != nil {
			t.Error(err)
		}
	}
	g.shut()
	for range window {
		send()
	}
	time.Sleep(100 * time.Millisecond)
	g.open()
	left := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.held)
	}
	for n := 0; left() > 0; n++ {
		if n == 1_000_000 {
			t.Fatalf("%d packets are held after a million", left())
		}
		<-heard
		send()
	}
}

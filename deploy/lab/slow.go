package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
)

// SlowLink joins a and b like [Lab.Link], but what a sends is on its way for delay.
// What b sends is not. It takes tc(8).
//
// The kernel delays where it has netem (tc-netem(8)). Elsewhere the cable is cut in
// the middle, where a host of its own is, and this process hands over what comes
// there from a, frame by frame when its time has come: within a tenth of a
// millisecond as long as there is a processor free.
func (l *Lab) SlowLink(a *Host, aIf string, b *Host, bIf string, delay time.Duration) error {
	if err := l.Link(a, aIf, b, bIf); err != nil {
		return err
	}
	// The limit is packets: the way shall lose none.
	_, err := a.Run(context.Background(), "tc", "qdisc", "add", "dev", aIf, "root",
		"netem", "delay", fmt.Sprintf("%dus", delay.Microseconds()), "limit", "100000")
	if err == nil {
		return nil
	}
	if err := a.IP("link delete " + aIf); err != nil {
		return err
	}
	if err := l.cut(a, aIf, b, bIf, delay); err != nil {
		return fault.Wrap(err, "cannot make a slow link between the hosts", a.name+" and "+b.name, "")
	}
	return nil
}

// The ends of the two halves of a cable that is cut.
const nearA, nearB = "half0", "half1"

// cut joins a and b over a host that has no address: its kernel takes no frame for
// its own.
func (l *Lab) cut(a *Host, aIf string, b *Host, bIf string, delay time.Duration) error {
	middle, err := l.Host(a.name + "-" + aIf)
	if err != nil {
		return err
	}
	if _, err := middle.Run(context.Background(), "sh", "-c",
		"echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6"); err != nil {
		return err
	}
	if err := errors.Join(l.Link(a, aIf, middle, nearA), l.Link(middle, nearB, b, bIf)); err != nil {
		return err
	}
	for _, words := range [][]string{
		{"tc", "qdisc", "add", "dev", nearB, "ingress"},
		{"tc", "filter", "add", "dev", nearB, "ingress", "u32", "match", "u32", "0", "0",
			"action", "mirred", "egress", "redirect", "dev", nearA},
	} {
		if _, err := middle.Run(context.Background(), words...); err != nil {
			return err
		}
	}
	w := &way{delay: delay}
	inErr := middle.enter(unix.CLONE_NEWNET, func() { err = w.open() })
	if err = errors.Join(inErr, err); err != nil {
		return err
	}
	middle.mu.Lock()
	defer middle.mu.Unlock()
	middle.stop = append(middle.stop, w.run())
	return nil
}

// A way takes frames from one interface to another in a time. Frames of several
// packets that the network is to cut (GSO), and those whose checksum it is to fill
// in, stay what they are: each comes with a struct virtio_net_hdr.
type way struct {
	from, to int // packet(7) sockets
	delay    time.Duration
	frames   []frame // in their order
}

type frame struct {
	due  time.Time
	data []byte
}

// largestFrame is that of an IP packet, with what is before it.
const largestFrame = 1<<16 + 64

func (w *way) open() (err error) {
	if w.from, err = packetSocket(nearA, unix.ETH_P_ALL); err != nil {
		return err
	}
	if w.to, err = packetSocket(nearB, 0); err != nil {
		unix.Close(w.from)
	}
	return err
}

// packetSocket takes what comes in at an interface, where a protocol is named, and
// sends out there.
func packetSocket(ifname string, protocol uint16) (fd int, err error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return 0, err
	}
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	const room = 64 << 20
	bigEndian := protocol<<8 | protocol>>8
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, room),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian, Ifindex: ifi.Index}),
	)
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// run hands frames over until stop is called.
func (w *way) run() (stop func()) {
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
		panic(err) // no file can be opened any more
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // its sleep is to be short
		defer runtime.UnlockOSThread()
		w.carry(fd[0])
	}()
	return sync.OnceFunc(func() {
		unix.Close(fd[1])
		<-done
		for _, fd := range []int{fd[0], w.from, w.to} {
			unix.Close(fd)
		}
	})
}

// carry ends when the pipe is closed.
func (w *way) carry(pipe int) {
	ready := []unix.PollFd{{Fd: int32(w.from), Events: unix.POLLIN}, {Fd: int32(pipe)}}
	for ready[1].Revents == 0 {
		unix.Ppoll(ready, w.wait(), nil)
		w.take()
		w.hand()
	}
}

// wait is how long the first frame has still to go; nil: there is none.
func (w *way) wait() *unix.Timespec {
	if len(w.frames) == 0 {
		return nil
	}
	t := unix.NsecToTimespec(max(0, int64(time.Until(w.frames[0].due))))
	return &t
}

// take takes all that is there.
func (w *way) take() {
	var buffer [largestFrame]byte
	due := time.Now().Add(w.delay)
	for {
		n, _, err := unix.Recvfrom(w.from, buffer[:], unix.MSG_TRUNC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		w.frames = append(w.frames, frame{due, append([]byte(nil), buffer[:n]...)})
	}
}

// hand gives on what has been on its way for long enough. An interface that is down
// loses it, as a cable does that is drawn.
func (w *way) hand() {
	now := time.Now()
	for len(w.frames) > 0 && !w.frames[0].due.After(now) {
		unix.Write(w.to, w.frames[0].data)
		w.frames = w.frames[1:]
	}
}

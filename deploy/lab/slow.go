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

// SlowLink connects a and b like [Lab.Link], but delays what a sends. What b sends is not
// delayed. It needs tc(8).
//
// If the kernel has netem (tc-netem(8)), that delays the packets. Otherwise a third host is
// put in the middle, and this process forwards each frame from a when it is due: within a
// tenth of a millisecond as long as a processor is free.
func (l *Lab) SlowLink(a *Host, aIf string, b *Host, bIf string, delay time.Duration) error {
	if err := l.Link(a, aIf, b, bIf); err != nil {
		return err
	}
	// The limit is in packets. It is high, so that none is lost.
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

// The interfaces of the host in the middle.
const nearA, nearB = "half0", "half1"

// cut connects a and b through a host without addresses, whose kernel takes no frame for
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
	w := &delayLine{delay: delay}
	inErr := middle.enter(unix.CLONE_NEWNET, func() { err = w.open() })
	if err = errors.Join(inErr, err); err != nil {
		return err
	}
	middle.mu.Lock()
	defer middle.mu.Unlock()
	middle.stop = append(middle.stop, w.run())
	return nil
}

// A delayLine forwards frames from one interface to another after a delay. Each frame comes
// with a struct virtio_net_hdr, so that frames with several packets to be segmented (GSO),
// and those whose checksum is to be filled in, stay what they are.
type delayLine struct {
	from, to int // packet(7) sockets
	delay    time.Duration
	frames   []frame // in order
}

type frame struct {
	due  time.Time
	data []byte
}

// largestFrame is the size of a frame with the largest IP packet.
const largestFrame = 1<<16 + 64

func (w *delayLine) open() (err error) {
	if w.from, err = packetSocket(nearA, unix.ETH_P_ALL); err != nil {
		return err
	}
	if w.to, err = packetSocket(nearB, 0); err != nil {
		unix.Close(w.from)
	}
	return err
}

// packetSocket opens a packet socket on an interface. It receives the frames of protocol,
// or none if that is 0.
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

// run forwards frames until stop is called.
func (w *delayLine) run() (stop func()) {
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
		panic(err) // the process has too many open files
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for timers that fire on time
		defer runtime.UnlockOSThread()
		w.forward(fd[0])
	}()
	return sync.OnceFunc(func() {
		unix.Close(fd[1])
		<-done
		for _, fd := range []int{fd[0], w.from, w.to} {
			unix.Close(fd)
		}
	})
}

// forward forwards frames until the pipe is closed.
func (w *delayLine) forward(pipe int) {
	ready := []unix.PollFd{{Fd: int32(w.from), Events: unix.POLLIN}, {Fd: int32(pipe)}}
	for ready[1].Revents == 0 {
		unix.Ppoll(ready, w.wait(), nil)
		w.receive()
		w.send()
	}
}

// wait returns the time until the first frame is due, or nil if there is none.
func (w *delayLine) wait() *unix.Timespec {
	if len(w.frames) == 0 {
		return nil
	}
	t := unix.NsecToTimespec(max(0, int64(time.Until(w.frames[0].due))))
	return &t
}

// receive takes all frames that are waiting.
func (w *delayLine) receive() {
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

// send sends the frames that are due. Errors are ignored: an interface that is down loses
// them.
func (w *delayLine) send() {
	now := time.Now()
	for len(w.frames) > 0 && !w.frames[0].due.After(now) {
		unix.Write(w.to, w.frames[0].data)
		w.frames = w.frames[1:]
	}
}

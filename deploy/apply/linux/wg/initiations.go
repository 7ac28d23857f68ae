package wg

import (
	"errors"
	"os"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Initiations tells of handshake initiations that arrive OUTSIDE, before WireGuard has
// examined them: it is not known yet from which peer they are, or whether they are valid.
// Some are not seen, such as one that the kernel merged with other packets (GRO), or one
// that reaches WireGuard in another network namespace.
type Initiations struct {
	C <-chan struct{} // receives a value for one initiation or several
	f *os.File
}

// A handshake initiation has 148 bytes and begins with its type and three zero bytes:
// section 5.4.2 of the WireGuard paper, MESSAGE_HANDSHAKE_INITIATION in the kernel's
// messages.h.
const (
	initiationLen  = 8 + 148 // with the header of UDP
	initiationType = 1 << 24
)

// WatchInitiations starts to listen, on all interfaces and all ports, because a packet
// filter may redirect another port to WireGuard's. It needs CAP_NET_RAW.
func WatchInitiations() (*Initiations, error) {
	filter, err := bpf.Assemble(initiationFilter)
	if err != nil {
		return nil, err
	}
	// Protocol 0 receives nothing until the filter is set.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "handshake initiations")
	if err := listenFor(fd, filter); err != nil {
		f.Close()
		return nil, err
	}
	c := make(chan struct{}, 1)
	go tell(f, c)
	return &Initiations{C: c, f: f}, nil
}

// tell sends to c for each packet until f is closed, but at most every 10 ms.
func tell(f *os.File, c chan<- struct{}) {
	for packet := make([]byte, 1); ; time.Sleep(10 * time.Millisecond) {
		_, err := f.Read(packet)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			continue
		}
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func listenFor(fd int, filter []bpf.RawInstruction) error {
	program := make([]unix.SockFilter, len(filter))
	for i, in := range filter {
		program[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, fprog); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	// Before Linux 4.20 there is no such option, and our own initiations are seen too,
	// which does no harm. The buffer holds one packet, so that a flood takes no memory.
	unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network byte order
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all}))
}

// Close stops listening.
func (i *Initiations) Close() error { return i.f.Close() }

// initiationFilter accepts handshake initiations, from the IP header on. It does not see
// fragments and IPv6 packets with extension headers.
var initiationFilter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 0, Size: 1},
	bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 6, SkipTrue: 10},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 4, SkipTrue: 16},

	bpf.LoadAbsolute{Off: 9, Size: 1}, // the protocol
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 14},
	bpf.LoadAbsolute{Off: 6, Size: 2}, // the fragment's offset
	bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 12},
	bpf.LoadMemShift{Off: 0}, // the length of the IP header
	bpf.LoadIndirect{Off: 4, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: initiationLen, SkipTrue: 9},
	bpf.LoadIndirect{Off: 8, Size: 4},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: initiationType, SkipTrue: 6, SkipFalse: 7},

	bpf.LoadAbsolute{Off: 6, Size: 1}, // the next header
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 5},
	bpf.LoadAbsolute{Off: 40 + 4, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: initiationLen, SkipTrue: 3},
	bpf.LoadAbsolute{Off: 40 + 8, Size: 4},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: initiationType, SkipTrue: 1},

	bpf.RetConstant{Val: 1},
	bpf.RetConstant{Val: 0},
}
